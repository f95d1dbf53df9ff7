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

	"shelfcast/cmd/shelfcast/fleettest"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

// TestChaos breaks what Shelfcast stands on, one thing after the other, while
// products are edited, and holds what hundreds of pages show against what was
// committed. It goes through some of the faults, and through all of them with
// SHELFCAST_TEST_LONG=1. Their order, their victims and the edits are from a
// seed, which it prints: SHELFCAST_TEST_SEED repeats it. SHELFCAST_TEST_FAULT is
// a part of the names of those faults that are wanted.
//
// With SHELFCAST_TEST_LONG the bar is that of the design, two seconds; a machine
// that does other tests meanwhile gets more.
func TestChaos(t *testing.T) {
	long := os.Getenv("SHELFCAST_TEST_LONG") != ""
	if !long {
		t.Parallel()
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("SHELFCAST_TEST_SEED"), strconv.FormatInt(time.Now().UnixNano(), 10)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("SHELFCAST_TEST_SEED=%d", seed)
	pages, bar := 60, 10*time.Second
	if long {
		pages, bar = 300, 2*time.Second
	}
	binary := fleettest.Build(t)
	scenes := []struct {
		name   string
		faults []fault
		phases []*phase
	}{{name: "one Redis", faults: faults()}, {name: "Sentinel", faults: failover()}}
	t.Cleanup(func() {
		table := &strings.Builder{}
		out := tabwriter.NewWriter(table, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(out, "fault\tedits\tdeliveries\trenders\tworst during\tafter\tlost\tbackwards\twrong\tcut off\t")
		for _, s := range scenes {
			for _, p := range s.phases {
				fmt.Fprintf(out, "%s\t%d\t%d\t%.2f\t%v\t%v\t%d\t%d\t%d\t%d\t\n", p.name, p.edits, p.deliveries, p.renders/float64(max(1, len(p.views))),
					p.during.Round(time.Millisecond), p.after.Round(time.Millisecond), p.lost, p.back, p.strange, p.cut)
			}
		}
		out.Flush()
		t.Logf("\n%s", table)
	})
	for n := range scenes {
		s := &scenes[n]
		t.Run(s.name, func(t *testing.T) {
			if !long { // each has a fleet of its own, and is mostly waiting
				t.Parallel()
			}
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			s.phases = play(t, binary, s.name == "Sentinel", s.faults, random, pages, bar, long)
		})
	}
}

const products = 40

// play lets the faults happen, one after the other, and judges.
func play(t *testing.T, binary string, withSentinel bool, all []fault, random *rand.Rand, pages int, bar time.Duration, long bool) []*phase {
	h := newHouse(t, withSentinel)
	s := &scene{house: h, random: random, ledger: &ledger{}}
	stock := s.stock()
	h.serve(binary)
	s.backup()
	b := open(t, h.public, pages, s.paths())
	storetest.Eventually(t, "all pages are connected", func() bool { return b.connected() == pages })

	begin := func() *editors { return edit(t, h, s.ledger, random, stock, 8) }
	editors := begin()
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var phases []*phase
	for _, f := range all {
		if !f.short && !long || !strings.Contains(f.name, os.Getenv("SHELFCAST_TEST_FAULT")) {
			continue
		}
		p := &phase{name: f.name, excuses: f.excuses, cuts: f.cuts, began: time.Now(), views: map[view]bool{}}
		rendered := h.rendered()
		wait(time.Second)
		if f.quiet {
			editors.end()
			wait(2 * time.Second)
		}
		p.fault = time.Now()
		before := s.ledger.lineup
		f.begin(s)
		p.restores = s.ledger.lineup > before
		if f.quiet {
			s.refresh(stock)
			editors = begin()
		}
		wait(f.lasts)
		if f.end != nil {
			f.end(s)
		}
		p.over = time.Now()
		for _, i := range h.instances {
			storetest.Eventually(t, "the instance is ready", func() bool { return fleettest.Answers("http://"+i.Admin+"/readyz")() == nil })
		}
		wait(3 * time.Second)
		p.ended, p.lineup = time.Now(), s.ledger.lineup
		p.renders = h.rendered() - rendered
		phases = append(phases, p)
	}
	b.say(t, "stay")
	editors.end()
	storetest.Eventually(t, "all pages are connected", func() bool { return b.connected() == pages })
	wait(bar)
	if len(phases) == 0 {
		return nil
	}
	last := phases[len(phases)-1]
	last.ended = time.Now()
	s.audit(b)
	j := newJudge(bar, phases, s.ledger)
	j.hear(b.history(), last.ended)
	for _, what := range j.says {
		t.Error(what)
	}
	t.Logf("%d edits were refused; %d got no answer, of which %d were made", s.ledger.refused, s.ledger.unclear, s.ledger.did)
	return phases
}

// wait lets time pass: a fault lasts, and a shop goes on.
func wait(d time.Duration) { <-time.After(d) }

// stock makes the products.
func (s *scene) stock() []store.Product {
	s.t.Helper()
	if len(s.instances) > 0 {
		s.t.Fatal("the shop is open already: see house.serve")
	}
	var made []store.Product
	for n := range products {
		sku := fmt.Sprint("thing ", n)
		title, price, currency, published := "The "+sku, "19.90", "EUR", true
		amount, err := store.ParsePrice(price)
		if err != nil {
			s.t.Fatal(err)
		}
		p, err := s.db.Create(s.t.Context(), store.Edit{SKU: &sku, Title: &title, Price: &amount, Currency: &currency, Published: &published})
		if err != nil {
			s.t.Fatal(err)
		}
		made = append(made, p)
		s.ids = append(s.ids, p.ID)
		s.ledger.note(p)
	}
	return made
}

// refresh takes down what somebody else has changed.
func (s *scene) refresh(all []store.Product) {
	s.t.Helper()
	for i := range all {
		p, err := s.db.Product(s.t.Context(), all[i].ID)
		if err != nil {
			s.t.Fatal(err)
		}
		all[i] = p
	}
}

// paths are the pages of the shop: as many of lists as of products.
func (s *scene) paths() (all []string) {
	for n, id := range s.ids {
		shelf := "/shop"
		if n >= 8 {
			shelf = fmt.Sprint("/shop?after=", s.ids[n-n%8-1])
		}
		all = append(all, fmt.Sprint("/shop/products/", id), shelf)
	}
	return all
}

// audit holds what the pages show, and what was acknowledged, against the
// database.
func (s *scene) audit(b *browsers) {
	s.t.Helper()
	now := map[int64]commit{}
	for _, id := range s.ids {
		p, err := s.db.Product(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		now[id] = made(p, s.ledger.lineup)
	}
	last := map[int64]commit{}
	for _, c := range s.ledger.commits {
		if old := last[c.ID]; c.lineup > old.lineup || c.Version > old.Version {
			last[c.ID] = c
		}
	}
	for id, c := range last {
		if now[id].Rev != c.Rev || now[id].title != c.title {
			s.t.Errorf("the database has version %d of %d, %q, and %d, %q, was the last that was made", now[id].Version, id, now[id].title, c.Version, c.title)
		}
	}
	for page, seen := range b.look(s.t) {
		for _, one := range seen {
			if c := now[one.id]; one.version != c.Version || one.title != c.title {
				s.t.Errorf("in the end page %d shows version %d of %d, %q; committed is %d, %q", page, one.version, one.id, one.title, c.Version, c.title)
			}
		}
	}
}
