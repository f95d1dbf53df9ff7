package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"shelfcast/store"
)

// A phase is the time of one fault, with some before and after it.
type phase struct {
	name               string
	began, fault, over time.Time // over: the fault was removed
	ended              time.Time
	pausesDeadline     bool // see fault
	cuts               bool // see fault
	timeline           int  // of the database at the end
	restores           bool // the fault was a restore, which began a timeline
	renders            float64
	views              map[view]bool // that a page was shown

	edits, deliveries      int
	during, after          time.Duration // worst latencies of commits during and after the fault
	lost, back, mismatched int
	cut                    int // connections that were lost
	alarms                 int // instances that reported lost versions
}

// A view is a version as a list or a product's own page shows it.
type view struct {
	store.Rev
	name string
}

// A judge compares what pages showed with what was committed. Its rule is the
// promise: a connected page shows a commit within the bar, counted from the commit,
// from the start of the page's connection, or from the end of a fault that pauses
// the deadline, whichever is last.
type judge struct {
	bar      time.Duration
	phases   []*phase
	failures []string

	order   map[store.Rev][]int // positions of a version in its product's history, one for each timeline
	commits []commit
	titles  map[store.Rev]string
}

func newJudge(bar time.Duration, phases []*phase, l *ledger) *judge {
	j := &judge{bar: bar, phases: phases, order: map[store.Rev][]int{}, titles: map[store.Rev]string{}}
	j.commits = slices.SortedFunc(slices.Values(l.commits), func(a, b commit) int {
		return cmp.Or(cmp.Compare(a.timeline, b.timeline), cmp.Compare(a.Version, b.Version))
	})
	timelines := l.timeline + 1
	for place, c := range j.commits {
		places, known := j.order[c.Rev]
		if !known {
			places = make([]int, timelines)
			j.order[c.Rev] = places
		}
		for n := c.timeline; n < timelines; n++ {
			places[n] = place + 1
		}
		if title, known := j.titles[c.Rev]; known && title != c.title {
			j.wrong(nil, "version %d of %d was committed as %q and as %q", c.Version, c.ID, title, c.title)
		}
		j.titles[c.Rev] = c.title
	}
	return j
}

func (j *judge) wrong(count *int, format string, args ...any) {
	if count != nil {
		*count++
	}
	if len(j.failures) < 30 {
		j.failures = append(j.failures, fmt.Sprintf(format, args...))
	}
}

// at returns the phase at that time.
func (j *judge) at(t time.Time) *phase {
	for _, p := range j.phases {
		if t.Before(p.ended) {
			return p
		}
	}
	return j.phases[len(j.phases)-1]
}

// position returns the position, in the product's history, of a version shown at that time.
func (j *judge) position(r store.Rev, t time.Time) int {
	places := j.order[r]
	if places == nil {
		return 0
	}
	timeline := 0
	for _, p := range j.phases { // the timeline of the last restore before t
		if p.fault.Before(t) {
			timeline = max(timeline, p.timeline)
		}
	}
	return places[timeline]
}

// A shown is the sequence of versions of a product in a view of an open page.
type shown struct {
	id     int64
	places []moment
}

type moment struct {
	at    time.Time
	place int
}

// A visit is a page from its load until it is left.
type visit struct {
	products  map[string]*shown
	connected []span
	live      bool
}

type span struct{ from, to time.Time }

// evaluate checks all events, and how late each commit was shown.
func (j *judge) evaluate(events []event, end time.Time) {
	open := map[int]*visit{}
	for _, e := range events {
		v := open[e.page]
		if v == nil && e.what != "load" {
			continue // a socket that closes after the page was left
		}
		switch e.what {
		case "load":
			open[e.page] = &visit{products: map[string]*shown{}}
			j.observe(open[e.page], e, false)
		case "shown":
			j.at(e.at).deliveries++
			j.observe(v, e, true)
		case "live":
			v.connected, v.live = append(v.connected, span{from: e.at}), true
		case "offline":
			if p := j.at(e.at); v.live && !p.cuts {
				j.wrong(&p.cut, "%s: page %d lost its connection", p.name, e.page)
			} else if v.live {
				p.cut++
			}
			v.offline(e.at)
		case "left":
			v.offline(e.at)
			j.visit(e.page, v)
			delete(open, e.page)
		}
	}
	for page, v := range open {
		v.offline(end)
		j.visit(page, v)
	}
	for _, c := range j.commits {
		j.at(c.at).edits++
	}
}

func (v *visit) offline(at time.Time) {
	if v.live {
		v.connected[len(v.connected)-1].to, v.live = at, false
	}
}

// observe records what a page shows.
func (j *judge) observe(v *visit, e event, pushed bool) {
	p := j.at(e.at)
	for _, s := range e.news {
		rev := store.Rev{ID: s.id, Version: s.version}
		if title, known := j.titles[rev]; !known || title != s.title {
			j.wrong(&p.mismatched, "%s: page %d shows version %d of %d as %q; committed was %q",
				p.name, e.page, s.version, s.id, s.title, title)
		}
		p.views[view{rev, s.view}] = true
		key := fmt.Sprint(s.view, s.id)
		at := v.products[key]
		if at == nil {
			at = &shown{id: s.id}
			v.products[key] = at
		}
		place := j.position(rev, e.at)
		// A page that loads what was restored may go to an instance that has yet to
		// find out: until all have, nothing says which of the two is newer.
		restoring := p.restores && e.at.After(p.fault) && e.at.Before(p.over.Add(j.bar))
		if n := len(at.places); pushed && n > 0 && place < at.places[n-1].place && !restoring {
			j.wrong(&p.back, "%s: at %s (the fault began at %s) page %d went back to version %d of %d, from %d of %s",
				p.name, clock(e.at), clock(p.fault), e.page, s.version, s.id,
				j.commits[max(0, at.places[n-1].place-1)].Version, clock(at.places[n-1].at))
		}
		at.places = append(at.places, moment{e.at, place})
	}
}

// visit checks how late a page showed each commit while it was open.
func (j *judge) visit(page int, v *visit) {
	for _, shown := range v.products {
		for place, c := range j.commits {
			if c.ID == shown.id {
				j.fresh(page, v, shown, c, place+1)
			}
		}
	}
}

func (j *judge) fresh(page int, v *visit, s *shown, c commit, place int) {
	var came time.Time // zero: never
	for n, m := range s.places {
		at, is := m.at, m.place
		if next := n+1 == len(s.places) || s.places[n+1].at.After(c.at); at.Before(c.at) && next {
			is = j.positionAfterRestore(s, m, c) // a restore may have made what it shows current again
		}
		if is >= place {
			came = at
			break
		}
	}
	for _, connected := range v.connected {
		from := latest(c.at, connected.from)
		to := connected.to
		if !came.IsZero() && came.Before(to) {
			to = came
		}
		for _, p := range j.phases {
			if p.timeline > c.timeline && p.fault.Before(to) {
				to = p.fault // a restore removed it
			}
			if p.pausesDeadline && p.fault.Before(to) && p.over.After(from) {
				from = p.over
			}
		}
		late := to.Sub(from)
		if late <= 0 {
			continue
		}
		p := j.at(c.at)
		if c.at.Before(p.over) {
			p.during = max(p.during, late)
		} else {
			p.after = max(p.after, late)
		}
		if late > j.bar {
			j.wrong(&p.lost, "%s: page %d did not show version %d of %d (%s), which was committed at %s, between %s and %s",
				p.name, page, c.Version, c.ID, c.title, clock(c.at), clock(from), clock(to))
		}
	}
}

// positionAfterRestore returns the position of what a page shows when a restore has
// made that version the newest.
func (j *judge) positionAfterRestore(s *shown, m moment, c commit) int {
	if c.timeline == 0 || m.place == 0 {
		return m.place
	}
	return j.order[store.Rev{ID: s.id, Version: j.commits[m.place-1].Version}][c.timeline]
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
