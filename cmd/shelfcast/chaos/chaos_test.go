package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// TestChaos injects faults into everything Shelfcast depends on, one after the
// other, while products are edited, and compares what hundreds of pages show with
// what was committed. It injects some of the faults, and all of them with
// SHELFCAST_TEST_LONG=1. Their order, their targets and the edits come from a seed,
// which it prints: SHELFCAST_TEST_SEED repeats it. SHELFCAST_TEST_FAULT selects
// faults by a part of their names.
//
// With SHELFCAST_TEST_LONG a page has two seconds to show a commit, as promised;
// without, ten, because other tests run at the same time.
func TestChaos(t *testing.T) {
	long := os.Getenv("SHELFCAST_TEST_LONG") != ""
	if !long {
		t.Parallel()
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("SHELFCAST_TEST_SEED"), strconv.FormatInt(time.Now().UnixNano(), 10)),
		10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("SHELFCAST_TEST_SEED=%d", seed)
	pages, bar := 60, 10*time.Second
	if long {
		pages, bar = 300, 2*time.Second
	}
	binary := fleettest.Build(t)
	type run struct {
		environment string
		faults      []fault
		phases      []*phase
	}
	runs := []*run{{environment: oneRedis, faults: faults()}, {environment: sentinel, faults: failover()}}
	if long && !testkit.MySQL(t) { // Galera is MariaDB's
		runs = append(runs, &run{environment: galera, faults: lag()})
	}
	t.Cleanup(func() {
		table := &strings.Builder{}
		out := tabwriter.NewWriter(table, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(out, "fault\tedits\tdeliveries\trenders\tworst during\tafter\tlost\tbackwards\twrong\talarms\tcut off\t")
		for _, r := range runs {
			for _, p := range r.phases {
				fmt.Fprintf(out, "%s\t%d\t%d\t%.2f\t%v\t%v\t%d\t%d\t%d\t%d\t%d\t\n", p.name, p.edits, p.deliveries,
					p.renders/float64(max(1, len(p.views))), p.during.Round(time.Millisecond), p.after.Round(time.Millisecond), p.lost,
					p.back, p.mismatched, p.alarms, p.cut)
			}
		}
		out.Flush()
		t.Logf("\n%s", table)
	})
	for n, r := range runs {
		t.Run(r.environment, func(t *testing.T) {
			if !long { // each has a fleet of its own, and is mostly waiting
				t.Parallel()
			}
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			r.phases = runFaults(t, binary, r.environment, r.faults, random, pages, bar, long)
		})
	}
}

const products = 40

// runFaults injects the faults one after the other and judges what the pages showed.
func runFaults(t *testing.T, binary, kind string, all []fault, random *rand.Rand, pages int,
	bar time.Duration, long bool) []*phase {
	env := newEnvironment(t, kind)
	s := &scenario{environment: env, random: random, ledger: &ledger{}}
	stock := s.createProducts()
	env.serve(binary)
	s.backup()
	b := open(t, env.public, pages, s.paths())
	testkit.Eventually(t, "all pages are connected", func() bool { return b.connected() == pages })

	begin := func() *editors { return edit(t, env, s.ledger, random, stock, 8) }
	editors := begin()
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var phases []*phase
	for _, f := range all {
		if !f.short && !long || !strings.Contains(f.name, os.Getenv("SHELFCAST_TEST_FAULT")) {
			continue
		}
		p := &phase{name: f.name, pausesDeadline: f.pausesDeadline, cuts: f.cuts, began: time.Now(), views: map[view]bool{}}
		rendered, alarmed := env.renders.of(env.instances), env.alarms.of(env.instances)
		wait(time.Second)
		if f.pausesEdits {
			editors.end()
			wait(2 * time.Second)
		}
		p.fault = time.Now()
		before := s.ledger.timeline
		f.begin(s)
		p.restores = s.ledger.timeline > before
		if f.pausesEdits {
			s.refresh(stock)
			editors = begin()
		}
		wait(f.lasts)
		if f.end != nil {
			f.end(s)
		}
		p.over = time.Now()
		for _, i := range env.instances {
			testkit.Eventually(t, "the instance is ready",
				func() bool { return fleettest.Answers("http://"+i.Admin+"/readyz")() == nil })
		}
		wait(3 * time.Second)
		p.ended, p.timeline = time.Now(), s.ledger.timeline
		p.renders = env.renders.of(env.instances) - rendered
		if p.alarms = int(env.alarms.of(env.instances) - alarmed); p.alarms > 0 && !p.restores {
			t.Errorf("%s: the instances reported %d times that the database lost versions", p.name, p.alarms)
		}
		phases = append(phases, p)
	}
	b.say(t, "stay")
	editors.end()
	testkit.Eventually(t, "all pages are connected", func() bool { return b.connected() == pages })
	wait(bar)
	if len(phases) == 0 {
		return nil
	}
	last := phases[len(phases)-1]
	last.ended = time.Now()
	s.verify(b)
	j := newJudge(bar, phases, s.ledger)
	j.evaluate(b.history(), last.ended)
	for _, what := range j.failures {
		t.Error(what)
	}
	t.Logf("%d edits were refused; %d got no answer, %d of them were applied",
		s.ledger.refused, s.ledger.unclear, s.ledger.applied)
	return phases
}

// wait waits for a fault to last, or for the shop to continue without one.
func wait(d time.Duration) { <-time.After(d) }

// createProducts creates the products.
func (s *scenario) createProducts() []store.Product {
	s.t.Helper()
	if len(s.instances) > 0 {
		s.t.Fatal("the instances run already: see environment.serve")
	}
	var made []store.Product
	for n := range products {
		sku := fmt.Sprint("thing ", n)
		title, price, currency, published := "The "+sku, "19.90", "EUR", true
		amount, err := store.ParsePrice(price)
		if err != nil {
			s.t.Fatal(err)
		}
		p, err := s.db.Create(s.t.Context(),
			store.Edit{SKU: &sku, Title: &title, Price: &amount, Currency: &currency, Published: &published})
		if err != nil {
			s.t.Fatal(err)
		}
		made = append(made, p)
		s.ids = append(s.ids, p.ID)
		s.ledger.record(p)
	}
	return made
}

// refresh reads all products again, as others may have changed them.
func (s *scenario) refresh(all []store.Product) {
	s.t.Helper()
	for i := range all {
		p, err := s.db.Product(s.t.Context(), all[i].ID)
		if err != nil {
			s.t.Fatal(err)
		}
		all[i] = p
	}
}

// paths returns pages of the shop: as many lists as products.
func (s *scenario) paths() (all []string) {
	for n, id := range s.ids {
		shelf := "/shop"
		if n >= 8 {
			shelf = fmt.Sprint("/shop?after=", s.ids[n-n%8-1])
		}
		all = append(all, fmt.Sprint("/shop/products/", id), shelf)
	}
	return all
}

// verify compares what the pages show and what was acknowledged with the database.
func (s *scenario) verify(b *browsers) {
	s.t.Helper()
	now := map[int64]commit{}
	for _, id := range s.ids {
		p, err := s.db.Product(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		now[id] = made(p, s.ledger.timeline)
	}
	last := map[int64]commit{}
	for _, c := range s.ledger.commits {
		if old := last[c.ID]; c.timeline > old.timeline || c.Version > old.Version {
			last[c.ID] = c
		}
	}
	for id, c := range last {
		if now[id].Rev != c.Rev || now[id].title != c.title {
			s.t.Errorf("the database has version %d of %d, %q, and %d, %q, was the last that was made",
				now[id].Version, id, now[id].title, c.Version, c.title)
		}
	}
	for page, seen := range b.look(s.t) {
		for _, one := range seen {
			if c := now[one.id]; one.version != c.Version || one.title != c.title {
				s.t.Errorf("in the end page %d shows version %d of %d, %q; committed is %d, %q",
					page, one.version, one.id, one.title, c.Version, c.title)
			}
		}
	}
}
