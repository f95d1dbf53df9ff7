package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/internal/liveclient"
	"shelfcast/store"
)

// Bystanders are ordinary users during an attack: visitors with open pages on each
// instance, new visitors, and an editor. They measure how long they wait.
type bystanders struct {
	t      testing.TB
	target target
	pages  [][]*page // of each instance
	edited store.Rev
	staff  http.Client
	token  string
}

const (
	pagesEach = 10                     // of an instance; the last one waits for edits
	patience  = 5 * time.Second        // of a bystander
	watching  = 20 * time.Millisecond  // between two watches on an instance
	editing   = 150 * time.Millisecond // between two edits
	visiting  = 100 * time.Millisecond // between two visits to an instance
)

// A waited has the waits of bystanders by kind: of each instance, and of the editor.
type waited struct {
	watch, visit [][]time.Duration
	edit         []time.Duration
	faults       []string // failures they had
}

// median and worst are of durations; worst is the 99th percentile.
func median(all []time.Duration) time.Duration { return quantile(all, .5) }
func worst(all []time.Duration) time.Duration  { return quantile(all, .99) }

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

// openBystanders opens the pages, which stay open.
func openBystanders(t testing.TB, target target, token string) *bystanders {
	t.Helper()
	b := &bystanders{t: t, target: target, token: token, staff: http.Client{Timeout: patience}}
	var p store.Product
	err := b.call("POST", target.Admin[0], "/products", "",
		`{"sku":"bystander","title":"A vase","price":"5","currency":"EUR","published":true}`, &p)
	if err != nil {
		t.Fatal(err)
	}
	b.edited = p.Rev
	for i := range target.Public {
		b.pages = append(b.pages, nil)
		b.reopen(i)
	}
	return b
}

// reopen opens the pages of an instance.
func (b *bystanders) reopen(i int) {
	b.t.Helper()
	for _, p := range b.pages[i] {
		p.conn.Close()
	}
	b.pages[i] = nil
	for range pagesEach {
		p, err := openPage(b.target.Public[i], "127.0.0.1")
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { p.conn.Close() })
		b.pages[i] = append(b.pages[i], p)
	}
	if err := b.pages[i][pagesEach-1].watch(b.edited.ID); err != nil {
		b.t.Fatal(err)
	}
}

// during measures while meanwhile runs.
func (b *bystanders) during(meanwhile func()) waited {
	ctx, stop := context.WithCancel(context.Background())
	w := waited{watch: make([][]time.Duration, len(b.pages)), visit: make([][]time.Duration, len(b.pages))}
	var mu sync.Mutex
	var all sync.WaitGroup
	note := func(to *[]time.Duration, what string, do func(n int) (time.Duration, error), every time.Duration) {
		all.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for n := 0; ; n++ {
				took, err := do(n)
				mu.Lock()
				*to = append(*to, took)
				if err != nil && len(w.faults) < 5 {
					w.faults = append(w.faults, fmt.Sprintf("%s: %v", what, err))
				}
				mu.Unlock()
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for i := range b.pages {
		note(&w.watch[i], fmt.Sprintf("a page on instance %d", i+1), func(n int) (time.Duration, error) {
			began := time.Now()
			err := b.pages[i][n%(pagesEach-1)].watch(int64(large + 1 + n%20))
			return time.Since(began), err
		}, watching)
		note(&w.visit[i], fmt.Sprintf("a new visitor of instance %d", i+1),
			func(n int) (time.Duration, error) { return b.visit(i, n) }, visiting)
	}
	note(&w.edit, "an edit", b.edit, editing)
	meanwhile()
	stop()
	all.Wait()
	return w
}

// edit edits a product through the instances in turn, and waits until a page on each
// was sent the edit.
func (b *bystanders) edit(n int) (time.Duration, error) {
	began := time.Now()
	var p store.Product
	err := b.call("PATCH", b.target.Admin[n%len(b.target.Admin)], fmt.Sprint("/products/", b.edited.ID),
		strconv.FormatInt(b.edited.Version, 10),
		fmt.Sprintf(`{"stock":%d}`, began.UnixNano()%1e9), &p)
	took := time.Since(began)
	if err != nil {
		// It may have been applied: the next edit needs the current version.
		_ = b.call("GET", b.target.Admin[n%len(b.target.Admin)], fmt.Sprint("/products/", b.edited.ID), "", "", &p)
		b.edited.Version = max(b.edited.Version, p.Version)
		return took, err
	}
	b.edited = p.Rev
	for i := range b.pages {
		if err := b.pages[i][pagesEach-1].shows(p.Rev); err != nil {
			return time.Since(began), fmt.Errorf("on instance %d: %w", i+1, err)
		}
	}
	return time.Since(began), nil
}

// visit is a new visitor who opens a page, sees a product and leaves.
func (b *bystanders) visit(instance, n int) (time.Duration, error) {
	began := time.Now()
	p, err := openPage(b.target.Public[instance], fmt.Sprint("127.0.1.", 1+n%200))
	if err != nil {
		return time.Since(began), err
	}
	defer p.conn.Close()
	err = p.watch(int64(large + 1 + n%20))
	return time.Since(began), err
}

func (b *bystanders) call(method, host, path, version, body string, into any) error {
	request, err := http.NewRequest(method, "http://"+host+"/api/v1"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+b.token)
	request.Header.Set("Content-Type", "application/json")
	if version != "" {
		request.Header.Set("If-Match", strconv.Quote(version))
	}
	response, err := b.staff.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s", response.Status, text)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// A page is a session of a browser. It records the newest version that it was sent
// of each product.
type page struct {
	conn *liveclient.Conn

	mu    sync.Mutex
	shown map[int64]int64
	sent  map[int64]int // frames that had the product
	over  error         // why the session has ended
	news  chan struct{} // closed, and made anew, when something came
}

func openPage(address, from string) (*page, error) {
	dialer := ws.Dialer{Timeout: patience,
		NetDial: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext}
	conn, err := liveclient.Dial(context.Background(), dialer, "ws://"+address+"/live")
	if err != nil {
		return nil, err
	}
	p := &page{conn: conn, shown: map[int64]int64{}, sent: map[int64]int{}, news: make(chan struct{})}
	go p.read()
	return p, nil
}

// read ends with the connection.
func (p *page) read() {
	for {
		f, err := p.conn.Next()
		p.mu.Lock()
		p.over = err
		for _, r := range f.Fragments {
			p.shown[r.ID] = max(p.shown[r.ID], r.Version)
			p.sent[r.ID]++
		}
		close(p.news)
		p.news = make(chan struct{})
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// watch watches a product again, and waits for its fragment.
func (p *page) watch(id int64) error {
	p.mu.Lock()
	before := p.sent[id]
	p.mu.Unlock()
	text := fmt.Appendf(nil, `{"unwatch":[%d],"watch":[{"id":%d,"version":0,"view":"card"}]}`, id, id)
	if err := p.conn.Send(text); err != nil {
		return err
	}
	return p.until(fmt.Sprint("product ", id), func() bool { return p.sent[id] > before })
}

// shows waits for a version, or a newer one.
func (p *page) shows(r store.Rev) error {
	return p.until(fmt.Sprint("version ", r.Version), func() bool { return p.shown[r.ID] >= r.Version })
}

func (p *page) until(what string, holds func() bool) error {
	late := time.After(patience)
	for {
		p.mu.Lock()
		done, over, news := holds(), p.over, p.news
		p.mu.Unlock()
		switch {
		case done:
			return nil
		case over != nil:
			return over
		}
		select {
		case <-news:
		case <-late:
			return fmt.Errorf("waited %v in vain for %s", patience, what)
		}
	}
}
