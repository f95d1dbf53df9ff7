package admin

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"shelfcast/api/auth"
	"shelfcast/api/httpx"
	"shelfcast/api/problem"
	"shelfcast/internal/coalesce"
	"shelfcast/store"
)

// Limits of calls that wait for changes.
const (
	maxWaiting          = 200              // calls at a time
	maxWaitingPerCaller = maxWaiting / 5   // of one caller
	maxStream           = 15 * time.Minute // of an event stream; its reader reconnects with the last id
	heartbeat           = 10 * time.Second // interval of comments in an idle stream
	maxOverlap          = 5000             // changes before now that a first position names; of more, some are delivered
)

// changesBody is an answer, and an event of a stream.
type changesBody struct {
	Changes []store.Rev `json:"changes" nullable:"false" doc:"By ascending version"`
	Next    string      `json:"next" doc:"The since of the next call"`
}

func (r *registry) changes() {
	schema := huma.SchemaFromType(r.api.OpenAPI().Components.Schemas, reflect.TypeFor[changesBody]())
	registerRead(r, operation{
		id: "changes", method: http.MethodGet, path: "/changes", tag: "Changes", scope: store.ReadProducts,
		summary: "Follow changes",
		description: "For other services. Waits up to wait seconds for changes after since, and returns the new versions; " +
			"continue with since=next. With Accept: text/event-stream the answer is a stream: each event has such an answer " +
			"as its data and next as its id, and Last-Event-ID resumes a stream that has ended. " +
			"Streams end after 15 minutes at the latest.\n\n" +
			"Each change is delivered at least once, some twice. A version is assigned when an edit begins, and becomes " +
			"visible when its transaction commits. So since=VERSION starts 10 s before that version, and changes of those " +
			"seconds may come again. After a transaction that took longer has committed, all changes since its beginning " +
			"are delivered again to those who continue with next. That needs the privilege PROCESS and a single server that " +
			"is written to. Without it (shelfcast_feed_transactions_hidden is 1), a change whose transaction took more " +
			"than 10 s may be missed, and a follower should compare all products now and then. A product that changed " +
			"several times is delivered with its newest version.",
		responses: map[string]*huma.Response{"200": {Description: "The changes, or none when the wait is over",
			Content: map[string]*huma.MediaType{
				"application/json":  {Schema: schema},
				"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}},
			}}},
		response: exampleChanges,
	}, r.admin.changes)
}

// A position is a place in the sequence of changes. Reading on from one misses nothing. The zero position is
// before everything.
type position struct {
	window // of the last read that reached the end

	// While a read is under way that has not reached the end: its window so far, and the last change that was read.
	Next  *window   `json:"n,omitempty"`
	After store.Rev `json:"a,omitzero"`
}

// A window describes one read: the database's clock when it began, and which changes of the overlap before that were
// delivered, so that a change committed late can be told from those. It also names the transactions that had been open
// for longer than the overlap. When one of them has ended, the next read starts where it began.
type window struct {
	Clock int64      `json:"c"`
	Seen  [][2]int64 `json:"s,omitempty"` // ids, and how long before the clock their versions are
	Sum   uint64     `json:"h,omitempty"` // hash of all that, if it is too much to name; 0: Seen is complete
	Open  [][2]int64 `json:"o,omitempty"` // threads of the server, and how long before the clock their transactions began; the oldest first
}

// Limits of what a position names.
const (
	maxSeen = 32
	// maxOpen transactions are named, the oldest ones. Those that began after them are read again with any of them, and
	// are named when there is room: their changes may come later, but are not missed.
	maxOpen = 32
)

// readFrom returns the version from which the next read has to start, if these transactions are open now.
func (w window) readFrom(open []store.Writer) int64 {
	before := make(map[int64]int64, len(w.Open))
	for _, o := range w.Open {
		before[o[0]] = w.Clock - o[1]
	}
	return store.OldestEnded(before, store.WriterStarts(open), w.Clock) - overlap
}

// window returns the window of a read that begins now. It names the open transactions that the overlap does not cover.
func (m snapshot) window() window {
	w := window{Clock: m.clock}
	for thread, started := range store.WriterStarts(m.open) {
		if age := m.clock - started; age > overlap-store.WriterGranularity {
			w.Open = append(w.Open, [2]int64{thread, age})
		}
	}
	slices.SortFunc(w.Open, func(a, b [2]int64) int { return cmp.Compare(b[1], a[1]) })
	w.Open = w.Open[:min(len(w.Open), maxOpen)]
	return w
}

// withSeen returns w after revs were delivered as well.
func (w window) withSeen(revs []store.Rev) window {
	w.Seen = slices.Clone(w.Seen)
	for _, r := range revs {
		switch {
		case r.Version <= w.Clock-overlap || r.Version > w.Clock:
		case w.Sum != 0:
			w.Sum = chainHash(w.Sum, r)
		default:
			w.Seen = append(w.Seen, [2]int64{r.ID, w.Clock - r.Version})
		}
		if len(w.Seen) > maxSeen {
			for _, s := range w.Seen {
				w.Sum = chainHash(w.Sum, store.Rev{ID: s[0], Version: w.Clock - s[1]})
			}
			w.Seen = nil
		}
	}
	return w
}

// unseen returns the revs that were not delivered. whole means that revs are all changes from the overlap before the
// clock on. In doubt a change is delivered again.
func (w window) unseen(revs []store.Rev, whole bool) []store.Rev {
	if w.Sum == 0 {
		return slices.DeleteFunc(slices.Clone(revs), func(r store.Rev) bool {
			return slices.Contains(w.Seen, [2]int64{r.ID, w.Clock - r.Version})
		})
	}
	known, late := uint64(0), 0
	for late < len(revs) && revs[late].Version <= w.Clock {
		known = chainHash(known, revs[late])
		late++
	}
	if whole && known == w.Sum {
		return revs[late:]
	}
	return revs
}

// chainHash adds r to a hash. It never returns 0.
func chainHash(before uint64, r store.Rev) uint64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, []uint64{before, uint64(r.ID), uint64(r.Version)})
	return h.Sum64() | 1
}

func (t position) String() string { return cursor(t) }

// parsePosition parses a version, or what String returns.
func parsePosition(s string) (position, error) {
	if version, err := strconv.ParseInt(s, 10, 64); err == nil && version >= 0 {
		return position{window: window{Clock: version}}, nil
	}
	var t position
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil {
		return position{}, huma.Error400BadRequest("since is neither a version nor the next of an answer")
	}
	return t, nil
}

// overlap is store.Overlap in microseconds, as versions count.
var overlap = store.Overlap.Microseconds()

// A snapshot is the database's clock, and which transactions were open then.
type snapshot struct {
	clock int64
	open  []store.Writer
}

// A changeSource has changes by ascending version. Take the snapshot before reading: what commits between the two is
// read again.
type changeSource interface {
	snapshot(ctx context.Context) (snapshot, error)
	ChangedSince(ctx context.Context, after store.Rev, limit int) ([]store.Rev, error)
}

// A changeLog is the changeSource of the database. One change wakes all waiting calls, so concurrent calls share a
// snapshot.
type changeLog struct {
	*store.DB
	snapshots *coalesce.Loader[struct{}, snapshot]
}

// snapshotInterval is the least time between two snapshots.
const snapshotInterval = 20 * time.Millisecond

func newChangeLog(db *store.DB) changeLog {
	return changeLog{db, coalesce.New(coalesce.Config[struct{}, snapshot]{
		Pace: snapshotInterval, Timeout: 5 * time.Second,
		Read: func(ctx context.Context, _ []struct{}) (map[struct{}]snapshot, error) {
			clock, err := db.Clock(ctx)
			if err != nil {
				return nil, err
			}
			open, err := db.Writers(ctx)
			if errors.Is(err, store.ErrWritersHidden) { // then only the overlap is read again
				err = nil
			}
			return map[struct{}]snapshot{{}: {clock, open}}, err
		},
	})}
}

func (l changeLog) snapshot(ctx context.Context) (snapshot, error) {
	found, err := l.snapshots.Load(ctx, struct{}{})
	return found[struct{}{}], err
}

// read returns at most limit changes after t, and the position after them. That position has a Next if the end was not
// reached.
func (t position) read(ctx context.Context, db changeSource, limit int) ([]store.Rev, position, error) {
	next, after := t.Next, t.After
	if next == nil {
		now, err := db.snapshot(ctx)
		if err != nil {
			return nil, t, err
		}
		begin := now.window()
		next, after = &begin, store.Rev{Version: t.readFrom(now.open)}
	}
	revs, err := db.ChangedSince(ctx, after, limit)
	if err != nil {
		return nil, t, err
	}
	// Seen holds what was read, not what the database has by now: that may be more.
	read := next.withSeen(revs)
	if len(revs) == limit {
		return t.unseen(revs, false), position{window: t.window, Next: &read, After: revs[limit-1]}, nil
	}
	return t.unseen(revs, after.Version == t.Clock-overlap), position{window: read}, nil
}

// Errors of calls that may not wait for changes.
var (
	errTooManyWaiting = problem.New(http.StatusServiceUnavailable, "too-many-waiting-calls",
		fmt.Sprintf("%d calls are waiting for changes on this instance, which is the limit", maxWaiting))
	errTooManyWaitingOfToken = problem.New(http.StatusTooManyRequests, "too-many-waiting-calls-of-token",
		fmt.Sprintf("%d calls of this token are waiting for changes on this instance, "+
			"which is the limit for one token", maxWaitingPerCaller))
)

// waiters counts the calls that wait for changes, in all and of each caller. The zero value is ready to use. Its
// methods may be called concurrently.
type waiters struct {
	mu       sync.Mutex
	total    int
	byCaller map[string]int // by the caller's key; no entry is 0
}

// enter lets a call wait until it calls leave, once. Errors: errTooManyWaiting, errTooManyWaitingOfToken.
func (w *waiters) enter(key string) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.byCaller[key] >= maxWaitingPerCaller:
		return nil, errTooManyWaitingOfToken
	case w.total >= maxWaiting:
		return nil, errTooManyWaiting
	case w.byCaller == nil:
		w.byCaller = map[string]int{}
	}
	w.total++
	w.byCaller[key]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.total--
		if w.byCaller[key]--; w.byCaller[key] == 0 {
			delete(w.byCaller, key)
		}
	}, nil
}

type changesAnswer struct {
	Body func(huma.Context)
}

func (a *App) changes(ctx context.Context, in *struct {
	Since  string `query:"since" doc:"A version, or the next of an answer; absent: from now on" example:"1795433536820389"`
	Wait   int    `query:"wait" minimum:"0" maximum:"30" default:"25" doc:"Seconds to wait for a change"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"500"`
	LastID string `header:"Last-Event-ID" doc:"The last id of a stream that has ended; takes precedence over since"`
	Accept string `header:"Accept" doc:"text/event-stream for a stream"`
}) (*changesAnswer, error) {
	leave, err := a.waiters.enter(auth.CallerFrom(ctx).Key)
	if err != nil {
		return nil, err
	}
	streams := strings.Contains(in.Accept, "text/event-stream")
	place, err := a.startPosition(ctx, in.Since, in.LastID)
	if err != nil || streams {
		if err != nil {
			leave()
			return nil, err
		}
		return &changesAnswer{func(ctx huma.Context) { a.stream(humafiber.Unwrap(ctx), place, in.Limit, leave) }}, nil
	}
	defer leave()
	body, _, err := a.waitForChanges(ctx, place, in.Limit, time.Duration(in.Wait)*time.Second)
	if err != nil {
		return nil, err
	}
	return &changesAnswer{func(ctx huma.Context) {
		ctx.SetHeader("Cache-Control", "no-store")
		_ = humafiber.Unwrap(ctx).JSON(body) // if it fails, the connection is gone
	}}, nil
}

// startPosition returns the position from which the caller wants to read.
func (a *App) startPosition(ctx context.Context, since, lastID string) (position, error) {
	for _, text := range []string{lastID, since} {
		if text != "" {
			return parsePosition(text)
		}
	}
	now, err := a.changeLog.snapshot(ctx)
	if err != nil {
		return position{}, err
	}
	seen, err := a.changeLog.ChangedSince(ctx, store.Rev{Version: now.clock - overlap}, maxOverlap)
	return position{window: now.window().withSeen(seen)}, err
}

// waitForChanges returns the changes after the position as soon as there are any, or none when the time is over or the
// app shuts down.
func (a *App) waitForChanges(ctx context.Context, place position,
	limit int, wait time.Duration) (changesBody, position, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		changed := a.Hub.Changed() // before the read: a change during it wakes this call
		revs, next, err := place.read(ctx, a.changeLog, limit)
		if err != nil {
			return changesBody{}, place, err
		}
		body := changesBody{Changes: append([]store.Rev{}, revs...), Next: next.String()}
		if len(revs) > 0 {
			return body, next, nil
		}
		if place.Next != nil || next.Next != nil { // there is more to read
			place = next
			continue
		}
		select {
		case <-changed:
		case <-over.C:
			return body, next, nil
		case <-a.Closing:
			return body, next, nil
		}
		place = next
	}
}

// stream writes events until the reader disconnects or the app shuts down.
func (a *App) stream(c *fiber.Ctx, place position, limit int, leave func()) {
	c.Set(fiber.HeaderContentType, "text/event-stream; charset=utf-8")
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // otherwise nginx would buffer events
	ctx, conn := c.UserContext(), c.Context().Conn()
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer leave()
		end := time.Now().Add(maxStream)
		if !writeEvent(w, conn, "retry: 2000\n\n") {
			return
		}
		for time.Now().Before(end) {
			body, next, err := a.waitForChanges(ctx, place, limit, heartbeat)
			text := ": nothing yet\n\n"
			switch {
			case err != nil:
				return // the reader reconnects
			case len(body.Changes) > 0:
				data, _ := json.Marshal(body)
				text = fmt.Sprintf("id: %s\ndata: %s\n\n", body.Next, data)
			}
			if !writeEvent(w, conn, text) {
				return
			}
			place = next
			select {
			case <-a.Closing:
				return
			default:
			}
		}
	})
}

// writeEvent writes text, and reports whether the reader is still there. Each event has the time of a whole answer.
func writeEvent(w *bufio.Writer, conn net.Conn, text string) bool {
	if err := conn.SetWriteDeadline(time.Now().Add(httpx.WriteTimeout)); err != nil {
		return false
	}
	_, err := w.WriteString(text)
	return err == nil && w.Flush() == nil
}
