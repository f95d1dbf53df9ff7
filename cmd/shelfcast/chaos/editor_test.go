package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"shelfcast/store"
	"shelfcast/testkit/fleettest"
)

// A commit is a version that the database had.
type commit struct {
	store.Rev
	at       time.Time // of the answer to its author
	title    string    // that pages must show
	timeline int       // number of restores of the database before it
}

// unavailable is what pages show of an unpublished or archived product.
const unavailable = "This product is not available."

func made(p store.Product, timeline int) commit {
	c := commit{Rev: p.Rev, at: time.Now(), title: p.Title, timeline: timeline}
	if p.Archived || !p.Published {
		c.title = unavailable
	}
	return c
}

// A ledger has all commits, and counts the other attempts.
type ledger struct {
	mu                        sync.Mutex
	commits                   []commit
	timeline                  int
	refused, unclear, applied int // unclear: without an answer; applied: of these, found in the database
}

func (l *ledger) record(p store.Product) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commits = append(l.commits, made(p, l.timeline))
}

func (l *ledger) count(what *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*what++
}

// editors edit random products through the load balancer, at a rate and each its
// own.
type editors struct {
	t      testing.TB
	env    *environment
	ledger *ledger
	client http.Client

	stop context.CancelFunc
	all  sync.WaitGroup
}

const editing = 4

// edit starts editors that together make rate edits a second.
func edit(t testing.TB, env *environment, l *ledger, random *rand.Rand, products []store.Product, rate int) *editors {
	e := &editors{t: t, env: env, ledger: l, client: http.Client{Timeout: 8 * time.Second}}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	for n := range editing {
		mine := []store.Product{}
		for i := n; i < len(products); i += editing {
			mine = append(mine, products[i])
		}
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		e.all.Go(func() {
			tick := time.NewTicker(time.Second * editing / time.Duration(rate))
			defer tick.Stop()
			for n := 1; ; n++ {
				select {
				case <-tick.C:
					at := own.IntN(len(mine))
					mine[at] = e.one(own, mine[at], n)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return e
}

// end stops the editors and waits for running edits.
func (e *editors) end() { e.stop(); e.all.Wait() }

// one makes one edit, and returns the product after it.
func (e *editors) one(random *rand.Rand, p store.Product, n int) store.Product {
	if p.Archived {
		return p
	}
	title := fmt.Sprintf("The %s, edit %d", p.SKU, n)
	method, path := http.MethodPatch, fmt.Sprint("/api/v1/products/", p.ID)
	body := map[string]any{
		"title": title, "price": fmt.Sprintf("%d.%02d", random.IntN(100), random.IntN(100)),
		"stock": random.IntN(20), "published": random.IntN(12) > 0,
	}
	bad := random.IntN(20) == 0
	switch {
	case bad:
		body["price"] = "-1"
	case random.IntN(100) == 0:
		method, path, body = http.MethodPost, path+"/archive", nil
	}
	status, answer, err := e.call(method, path, body, p.Rev)
	switch {
	case err == nil && status == http.StatusOK && !bad:
		e.ledger.record(answer)
		return answer
	case err == nil && status == http.StatusUnprocessableEntity && bad:
		e.ledger.count(&e.ledger.refused)
		return p
	case err == nil && status == http.StatusPreconditionFailed, err == nil && status == http.StatusConflict:
		e.ledger.count(&e.ledger.refused)
	case err != nil, status >= 500:
		e.ledger.count(&e.ledger.unclear)
	default:
		e.t.Errorf("an edit was answered with %d", status)
	}
	for { // it may have been applied
		status, now, err := e.call(http.MethodGet, fmt.Sprint("/api/v1/products/", p.ID), nil, store.Rev{})
		if err == nil && status == http.StatusOK {
			if now.Rev != p.Rev {
				e.ledger.count(&e.ledger.applied)
				e.ledger.record(now)
			}
			return now
		}
		time.Sleep(200 * time.Millisecond) // an editor's pause, not a test's
	}
}

func (e *editors) call(method, path string, body any, seen store.Rev) (int, store.Product, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, store.Product{}, err
		}
		content = bytes.NewReader(b)
	}
	request, err := http.NewRequest(method, e.env.admin+path, content)
	if err != nil {
		return 0, store.Product{}, err
	}
	request.Header.Set("Authorization", "Bearer "+fleettest.Token)
	request.Header.Set("Content-Type", "application/json")
	if seen.ID > 0 {
		request.Header.Set("If-Match", strconv.Quote(strconv.FormatInt(seen.Version, 10)))
	}
	response, err := e.client.Do(request)
	if err != nil {
		return 0, store.Product{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, store.Product{}, err
	}
	var p store.Product
	if response.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, &p)
	}
	return response.StatusCode, p, err
}
