package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/cmd/shelfcast/fleettest"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

// throughTheExample starts HAProxy with the example for an Odoo shop, over the
// instances that run, and has its address.
func (h *house) throughTheExample(t testing.TB) string {
	t.Helper()
	odoo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Odoo") }))
	t.Cleanup(odoo.Close)
	text, err := os.ReadFile("../../../deploy/odoo/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprint("127.0.0.1:", storetest.FreePort(t))
	config := strings.NewReplacer("bind :80\n", "bind "+address+"\n", "tier1:8080", h.instances[0].Public, "tier2:8080", h.instances[1].Public,
		"odoo:8069", strings.TrimPrefix(odoo.URL, "http://")).Replace(string(text))
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	storetest.StartServer(t, fleettest.Answers("http://"+address+"/websocket/health"), nil, storetest.Program(t, "haproxy", "haproxy"), "-db", "-f", file)
	return address
}

// Pages of an Odoo 16 storefront, whose client knows nothing of us, go through
// edits, a drain, an instance that is killed and a Redis that is gone, on a fleet of
// two, and show in the end what is committed.
func TestOdooPagesThroughFaults(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h := newHouse(t, false)
	s := &scene{house: h, random: rand.New(rand.NewPCG(seed, 0)), ledger: &ledger{}}
	stock := s.stock()
	h.serve(fleettest.Build(t))
	h.instances[2].Stop()
	var numbers []int64
	for i, p := range stock { // Odoo's own numbers for every other
		number := p.ID
		if i%2 == 0 {
			number = 100_000 + p.ID
			external := store.FromOdoo(number)
			var err error
			if stock[i], err = s.db.Update(t.Context(), p.Rev, store.Edit{ExternalID: &external}); err != nil {
				t.Fatal(err)
			}
		}
		numbers = append(numbers, number)
	}
	address := h.throughTheExample(t)
	const count = 30
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	var pages []*odooPage
	for n := range count {
		var shows []int64
		for i := range 8 {
			shows = append(shows, numbers[(n*3+i)%len(numbers)])
		}
		p := newOdooPage(n, address, shows)
		p.load(ctx)
		pages = append(pages, p)
		all.Go(func() { p.live(ctx) })
	}
	connected := func() bool {
		for _, p := range pages {
			p.mu.Lock()
			open := p.open
			p.mu.Unlock()
			if !open {
				return false
			}
		}
		return true
	}
	right := func() bool {
		for _, p := range stock {
			now, err := s.db.Product(t.Context(), p.ID)
			if err != nil {
				t.Fatal(err)
			}
			number := store.OdooID(now.ID, now.ExternalID)
			for _, page := range pages {
				page.mu.Lock()
				version, shown := page.cards[number]
				page.mu.Unlock()
				if shown && version != now.Version {
					return false
				}
			}
		}
		return true
	}
	storetest.Eventually(t, "all pages are connected", connected)
	for _, f := range []struct {
		name string
		do   func()
	}{
		{"edits", func() {}},
		{"a drain", func() { h.instances[0].Stop(); wait(time.Second); h.instances[0].Start() }},
		{"an instance is killed", func() { h.instances[1].Kill(); wait(3 * time.Second); h.instances[1].Start() }},
		{"Redis is gone", func() { h.redis.Kill(); wait(3 * time.Second); h.redis.Start() }},
		{"Redis is cut off while an instance is killed", func() {
			h.toRedis.Stop()
			h.instances[0].Kill()
			wait(time.Second)
			h.instances[0].Start()
			s.start(h.toRedis)
		}},
	} {
		// The editors call the instances through the house's own balancer.
		editors := edit(t, h, s.ledger, s.random, stock, 20)
		wait(time.Second)
		f.do()
		wait(time.Second)
		editors.end()
		s.refresh(stock)
		storetest.Eventually(t, f.name+": all pages are connected", connected)
		began := time.Now()
		storetest.Eventually(t, f.name+": all pages show what is committed", right)
		t.Logf("%s: right after %v", f.name, time.Since(began).Round(time.Millisecond))
	}
	drained := 0
	for _, p := range pages {
		p.mu.Lock()
		for _, what := range p.says {
			t.Errorf("page %d: %s", p.n, what)
		}
		drained += p.closes[4002]
		if p.closes[ws.StatusNormalClosure] > 0 {
			t.Errorf("page %d was sent away", p.n)
		}
		p.mu.Unlock()
	}
	if drained == 0 {
		t.Error("nobody was told to come back at once")
	}
	opened, failed := 0, 0
	for _, p := range pages {
		opened += p.opened
		failed += p.failed
	}
	t.Logf("%d pages, %d sockets, %d hops of a drain, %d calls that failed", len(pages), opened, drained, failed)
}
