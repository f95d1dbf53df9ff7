package realtime

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"shelfcast/render"
	"shelfcast/store"
)

// shop stands for the cache and the database behind it, where time, failure
// and order are the subject.
type shop struct {
	mu      sync.Mutex
	rows    map[int64]int64 // what the database has
	heard   map[int64]int64
	cached  map[store.Rev]*render.Fragment
	html    string
	trusted time.Time
	since   time.Time
	ahead   time.Duration // of our clock
	writers []store.Writer
	blind   error
	outside string
	reads   int // rows that News has had
	server  string
	awaited map[store.Rev]bool
	fails   error
	panics  int64 // the id that nobody may ask for
	asks    int   // calls of Compare
	fills   int   // calls of Fragment

	shared map[store.Rev]int // how often each was given to Share
	reset  bool

	external map[int64]string // ids of another system

	broken int64                   // the id whose fragment cannot be had
	slow   map[int64]time.Duration // how long the fragment of an id takes

	read chan struct{} // if not nil, see hold
}

// hold makes each read of what is current or recent say on the channel that it
// has read, and wait there until it may go on. Readers are at work already.
func (s *shop) hold() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = make(chan struct{})
	return s.read
}

func (s *shop) held() {
	s.mu.Lock()
	read := s.read
	s.mu.Unlock()
	if read != nil {
		read <- struct{}{}
		<-read
	}
}

func newShop(revs ...store.Rev) *shop {
	s := &shop{shared: map[store.Rev]int{}, rows: map[int64]int64{}, heard: map[int64]int64{},
		cached: map[store.Rev]*render.Fragment{}, slow: map[int64]time.Duration{}, external: map[int64]string{}, html: "<p>"}
	for _, r := range revs {
		s.set(r)
	}
	return s
}

// delay is how long the fragment of that product takes from now on.
func (s *shop) delay(d time.Duration, id int64) { s.mu.Lock(); defer s.mu.Unlock(); s.slow[id] = d }

func (s *shop) set(r store.Rev) { s.mu.Lock(); defer s.mu.Unlock(); s.rows[r.ID] = r.Version }
func (s *shop) fail(err error)  { s.mu.Lock(); defer s.mu.Unlock(); s.fails = err }

func (s *shop) Observe(r store.Rev) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard[r.ID] >= r.Version {
		return false
	}
	s.heard[r.ID] = r.Version
	return true
}

func (s *shop) ParseView(name string) (render.View, bool) { return render.ParseView(name) }

func (s *shop) TrustUntil(until, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trusted, s.since = until, since
}

func (s *shop) ServerChanged()           {}
func (s *shop) ServerName() string       { s.mu.Lock(); defer s.mu.Unlock(); return s.server }
func (s *shop) Lagging(r store.Rev) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.awaited[r] }

func (s *shop) Unavailable(view render.View, shown store.Rev) (*render.Fragment, error) {
	gone := store.Product{Rev: store.Rev{ID: shown.ID, Version: shown.Version + 1}, Archived: true}
	return render.NewFragment(view, gone, "gone")
}

func (s *shop) Confirm(revs []store.Rev, at time.Time) {}

func (s *shop) vouched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.trusted)
}

// Known never knows, unless it is vouched for.
func (s *shop) Current(shown store.Rev) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	version := s.heard[shown.ID]
	return version, version >= shown.Version && version > 0 && time.Now().Before(s.trusted)
}

func (s *shop) Cached(view render.View, want store.Rev) *render.Fragment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cached[want]
}

func (s *shop) ReadVersions(_ context.Context, ids []int64) (map[int64]int64, error) {
	s.mu.Lock()
	s.asks++
	s.mu.Unlock()
	read, err := s.versions(ids)
	s.held()
	found := map[int64]int64{}
	for _, r := range read {
		found[r.ID] = r.Version
	}
	return found, err
}

func (s *shop) versions(ids []int64) (found []store.Rev, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if id == s.panics && id != 0 {
			panic("a fault of ours")
		}
		if version, ok := s.rows[id]; ok {
			found = append(found, store.Rev{ID: id, Version: version})
		}
	}
	return found, s.fails
}

func (s *shop) Fragment(ctx context.Context, view render.View, want store.Rev) (*render.Fragment, error) {
	s.mu.Lock()
	takes := s.slow[want.ID]
	s.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fills++
	version, ok := s.rows[want.ID]
	if s.fails != nil {
		return nil, s.fails
	}
	if want.ID == s.broken {
		return nil, errors.New("broken")
	}
	if want.ID == s.panics && want.ID != 0 {
		panic("a fault of ours")
	}
	if !ok {
		return nil, store.ErrNotFound
	}
	rev := store.Rev{ID: want.ID, Version: version}
	f, err := render.NewFragment(view, store.Product{Rev: rev, ExternalID: s.external[want.ID], Published: true}, s.html)
	s.cached[f.Rev] = f
	return f, err
}

// Clock and ChangedSince make a shop the Changes of a Feed.
func (s *shop) Clock(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.ahead).UnixMicro(), s.fails
}

func (s *shop) ChangedSince(_ context.Context, after store.Rev, _ int) (revs []store.Rev, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, version := range s.rows {
		if version > after.Version || version == after.Version && id > after.ID && after.ID > 0 {
			revs = append(revs, store.Rev{ID: id, Version: version})
		}
	}
	slices.SortFunc(revs, func(a, b store.Rev) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.ID, b.ID))
	})
	return revs, s.fails
}

func (s *shop) Writers(context.Context) ([]store.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writers), cmp.Or(s.fails, s.blind)
}

func (s *shop) RemoteWriters(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outside, s.fails
}

func (s *shop) ChangedWithVisibility(ctx context.Context, after store.Rev, limit int) ([]store.ChangedProduct, error) {
	revs, err := s.ChangedSince(ctx, after, limit)
	revs = revs[:min(limit, len(revs))]
	s.mu.Lock()
	s.reads += len(revs)
	s.mu.Unlock()
	news := make([]store.ChangedProduct, len(revs))
	for i, r := range revs {
		news[i] = store.ChangedProduct{Rev: r}
	}
	return news, err
}

// RecentChanges makes a shop the RecentChangesSource of an OdooConfig.
func (s *shop) RecentChanges(_ context.Context, after int64, limit int) ([]store.RecentChange, error) {
	s.mu.Lock()
	s.asks++
	s.mu.Unlock()
	revs, err := s.ChangedSince(context.Background(), store.Rev{Version: after}, 0)
	s.held()
	slices.Reverse(revs)
	var found []store.RecentChange
	for _, r := range revs[:min(limit, len(revs))] {
		found = append(found, store.RecentChange{Rev: r, ExternalID: s.external[r.ID]})
	}
	return found, err
}

func (s *shop) LatestRevs(_ context.Context, limit int) (revs []store.Rev, err error) {
	revs, err = s.ChangedSince(context.Background(), store.Rev{}, 0)
	slices.Reverse(revs)
	return revs[:min(limit, len(revs))], err
}

func (s *shop) Versions(_ context.Context, ids []int64) ([]store.Rev, error) { return s.versions(ids) }

func (s *shop) Reset(context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.heard)
	s.reset = true
}

func (s *shop) wasReset() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.reset }

func (s *shop) Announce(ctx context.Context, revs ...store.Rev) error { return s.Share(ctx, revs...) }

func (s *shop) Share(_ context.Context, revs ...store.Rev) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range revs {
		s.shared[r]++
	}
	return nil
}

func (s *shop) timesShared(r store.Rev) int { s.mu.Lock(); defer s.mu.Unlock(); return s.shared[r] }

func rev(id, version int64) store.Rev { return store.Rev{ID: id, Version: version} }

// quietHub is a hub that runs until the test ends, and says nothing.
func quietHub(t testing.TB, s *shop, cfg Config) *Hub {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	h := NewHub(s, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); h.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return h
}

// A browser is the other end of a session. What it is sent waits until it is
// read: over a pipe the server's write stands still meanwhile.
type browser struct {
	t    testing.TB
	conn net.Conn
}

func join(t testing.TB, h *Hub, mode Mode) *browser {
	t.Helper()
	server, client := net.Pipe()
	t.Cleanup(func() { client.Close() })
	if err := h.Adopt(server, Join{Mode: mode}); err != nil {
		t.Fatal(err)
	}
	return &browser{t, client}
}

func (b *browser) watch(revs ...store.Rev) {
	b.t.Helper()
	var r request
	for _, v := range revs {
		r.Watch = append(r.Watch, Watch{v, render.Card})
	}
	b.say(r)
}

func (b *browser) say(v any) {
	b.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := wsutil.WriteClientText(b.conn, text); err != nil {
		b.t.Fatal(err)
	}
}

// frame is the next frame, of whatever kind.
func (b *browser) frame() ws.Frame {
	b.t.Helper()
	f, err := ws.ReadFrame(b.conn)
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// answered is the next frame that is no ping. Those it answers, as browsers do.
func (b *browser) answered() ws.Frame {
	b.t.Helper()
	for {
		f := b.frame()
		if f.Header.OpCode != ws.OpPing {
			return f
		}
		if err := wsutil.WriteClientMessage(b.conn, ws.OpPong, f.Payload); err != nil {
			b.t.Fatal(err)
		}
	}
}

// next has the versions of the next frame, by product.
func (b *browser) next() map[int64]int64 {
	b.t.Helper()
	var said struct {
		Fragments, Changed []store.Rev
		Error              *refusal
	}
	text := b.answered().Payload
	if err := json.Unmarshal(text, &said); err != nil {
		b.t.Fatalf("%v: %s", err, text)
	}
	got := map[int64]int64{}
	for _, r := range append(said.Fragments, said.Changed...) {
		got[r.ID] = r.Version
	}
	if said.Error != nil {
		b.t.Fatal(said.Error)
	}
	return got
}

func (b *browser) sees(want ...store.Rev) {
	b.t.Helper()
	got := b.next()
	for _, r := range want {
		if got[r.ID] != r.Version {
			b.t.Errorf("got %v, want %v", got, r)
		}
	}
	if len(got) != len(want) {
		b.t.Errorf("got %v, want %v", got, want)
	}
}

// both is what is seen of two products, in one frame or in several.
func (b *browser) both() map[int64]int64 {
	b.t.Helper()
	got := b.next()
	for len(got) < 2 {
		for id, version := range b.next() {
			got[id] = version
		}
	}
	return got
}

// nothing: the server has nothing to say, but for what it says of this ping.
func (b *browser) nothing() {
	b.t.Helper()
	if err := wsutil.WriteClientMessage(b.conn, ws.OpPing, []byte("?")); err != nil {
		b.t.Fatal(err)
	}
	if f := b.answered(); f.Header.OpCode != ws.OpPong {
		b.t.Errorf("got %s", fmt.Sprint(f.Header.OpCode, string(f.Payload)))
	}
}

// asked is how often Compare was called.
func (s *shop) asked() int { s.mu.Lock(); defer s.mu.Unlock(); return s.asks }
