package chaos

import (
	"context"
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

	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// odooHAProxy starts HAProxy with deploy/odoo/haproxy.cfg in front of the first two
// instances, and returns its address.
func (env *environment) odooHAProxy(t testing.TB) string {
	t.Helper()
	odoo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_,
			_ = io.WriteString(w, "Odoo")
	}))
	t.Cleanup(odoo.Close)
	text, err := os.ReadFile("../../../deploy/odoo/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	address := testkit.FreeAddr(t)
	config := strings.NewReplacer("bind :80\n", "bind "+address+"\n", "tier1:8080", env.instances[0].Public, "tier2:8080",
		env.instances[1].Public, "odoo:8069", strings.TrimPrefix(odoo.URL, "http://")).Replace(string(text))
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.StartServer(t, fleettest.Answers("http://"+address+"/websocket/health"), nil,
		testkit.Program(t, "haproxy", "haproxy"), "-db", "-f", file)
	return address
}

// Pages of an Odoo 16 storefront, with Odoo's own client, show what is committed
// after edits, a drain, a killed instance and a Redis outage, on a fleet of two.
func TestOdooPagesDuringFaults(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	env := newEnvironment(t, oneRedis)
	s := &scenario{environment: env, random: rand.New(rand.NewPCG(seed, 0)), ledger: &ledger{}}
	stock := s.createProducts()
	env.serve(fleettest.Build(t))
	env.instances[2].Stop()
	var numbers []int64
	for i, p := range stock { // Odoo's own numbers for every other
		number := p.ID
		if i%2 == 0 {
			number = 100_000 + p.ID
			external := store.OdooExternalID(number)
			var err error
			if stock[i], err = s.db.Update(t.Context(), p.Rev, store.Edit{ExternalID: &external}); err != nil {
				t.Fatal(err)
			}
		}
		numbers = append(numbers, number)
	}
	address := env.odooHAProxy(t)
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
	testkit.Eventually(t, "all pages are connected", connected)
	for _, f := range []struct {
		name string
		do   func()
	}{
		{"edits", func() {}},
		{"a drain", func() { env.instances[0].Stop(); wait(time.Second); env.instances[0].Start() }},
		{"an instance is killed", func() { env.instances[1].Kill(); wait(3 * time.Second); env.instances[1].Start() }},
		{"Redis is gone", func() { env.redis.Kill(); wait(3 * time.Second); env.redis.Start() }},
		{"Redis is cut off while an instance is killed", func() {
			env.toRedis.Stop()
			env.instances[0].Kill()
			wait(time.Second)
			env.instances[0].Start()
			s.start(env.toRedis)
		}},
	} {
		// The editors use the environment's own load balancer.
		editors := edit(t, env, s.ledger, s.random, stock, 20)
		wait(time.Second)
		f.do()
		wait(time.Second)
		editors.end()
		s.refresh(stock)
		testkit.Eventually(t, f.name+": all pages are connected", connected)
		began := time.Now()
		testkit.Eventually(t, f.name+": all pages show what is committed", right)
		t.Logf("%s: right after %v", f.name, time.Since(began).Round(time.Millisecond))
	}
	drained := 0
	for _, p := range pages {
		p.mu.Lock()
		for _, what := range p.violations {
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
