//go:build !race

// The race detector has nothing to find in a walk through states by one
// goroutine, and makes it seven times as long: make test runs it by itself.

package realtime

import (
	"fmt"
	"math/bits"
	"os"
	"strings"
	"testing"
)

// A model of the protocol, small enough to be looked at in every state that it
// can reach: one product, two instances that hear of it, and one page. Edits may
// commit late, and their news may be lost, come twice, late and in any order;
// the page may lose its connection, and an instance may start anew. Where
// nothing more can happen the page has to show what is committed.
//
// The test also takes away each thing that the design has against one of these,
// and sees a page left behind.

// A world is one state. It is comparable: that is how it is known again.
type world struct {
	clock     int8 // the database's
	row       int8 // the version committed
	pending   int8 // the version of a transaction that has yet to commit; 0: none
	pendingAt int8 // when it took the version

	ticks, edits, cuts, twice, restarts int8 // that may yet happen

	instances [2]node
	page      view
}

type node struct {
	cursor  int8   // of the feed; 0: it has not read yet
	reading int8   // the clock that a read under way began with; 0: none is
	open    int8   // when the transaction began that was open at the last read; 0: none was
	ended   int8   // the read under way goes back to there; 0: it need not
	newest  int8   // heard of
	news    uint16 // on its way here: a bit a version
}

type view struct {
	at      int8 // the instance + 1; 0: no connection
	shown   int8
	watched bool   // the instance tells it of news
	asking  bool   // what is current
	answer  int8   // to that; 0: none yet
	coming  uint16 // on its way to the page: a bit a version
}

// A design is the protocol, and what may be taken away from it.
type design struct {
	noFeed, noOverlap, clockAfterRows, fromFirstRead, askThenWatch, noAsk, lastWins, pageTakesAll bool
	noWriters, writersAfterRows                                                                   bool
}

// lookBack is how many ticks a read of the feed goes back in any case. A transaction may take longer.
const lookBack = 1

// An action is what happened: a format, and numbers for it.
type action struct {
	format string
	a, b   int8
}

func (a action) String() string {
	return strings.NewReplacer("#a", fmt.Sprint(a.a), "#b", fmt.Sprint(a.b)).Replace(a.format)
}

// A stepper takes what may happen, and what it changes.
type stepper func(name string, a, b int8, change func(*world))

// next calls each for every state that w may become.
func (d design) next(w world, each func(action, world)) {
	step := func(name string, a, b int8, change func(*world)) {
		after := w
		change(&after)
		d.forget(&after)
		if after != w {
			each(action{name, a, b}, after)
		}
	}
	if w.ticks > 0 {
		step("tick", 0, 0, func(w *world) { w.ticks--; w.clock++ })
	}
	if w.edits > 0 && w.pending == 0 {
		step("an edit begins", 0, 0, func(w *world) { w.edits--; w.pending, w.pendingAt = max(w.row+1, w.clock), w.clock })
	}
	if w.pending > 0 {
		for to := range int8(4) { // whom its news will reach
			step("it commits, and its news goes to #a and #b", to&1, to>>1, func(w *world) {
				w.row, w.pending, w.pendingAt = w.pending, 0, 0
				for i := range w.instances {
					if to>>i&1 == 1 {
						w.instances[i].news |= 1 << w.row
					}
				}
			})
		}
	}
	for i := range w.instances {
		d.instance(w, i, step)
	}
	d.browser(w, step)
}

// forget makes one of states between which nothing can tell any more: news that
// is old already, and an instance to which the page will never come.
func (d design) forget(w *world) {
	for i := range w.instances {
		if !d.lastWins {
			w.instances[i].news &^= 1<<(w.instances[i].newest+1) - 1
		}
		if !w.mayServe(i) {
			w.instances[i] = node{}
		}
	}
	if !d.pageTakesAll {
		w.page.coming &^= 1<<(w.page.shown+1) - 1
	}
}

// mayServe: the page is at the instance, or may yet come to it.
func (w world) mayServe(i int) bool {
	return w.page.at == int8(i+1) || w.page.at == 0 || w.cuts > 0 || w.restarts > 0
}

// instance is what instance i may do.
func (d design) instance(w world, i int, step stepper) {
	if !w.mayServe(i) {
		return
	}
	for _, v := range versions(w.instances[i].news) {
		step("news of #a comes to #b", v, int8(i), func(w *world) { w.instances[i].news &^= 1 << v; d.apply(w, i, v) })
		if w.twice > 0 {
			step("news of #a comes to #b, not for the last time", v, int8(i), func(w *world) { w.twice--; d.apply(w, i, v) })
		}
	}
	switch n := w.instances[i]; {
	case d.noFeed:
	case n.reading == 0 && (n.cursor < w.clock || n.open != w.writer() || d.finds(w, n)):
		step("feed #a begins a read", int8(i), 0, func(w *world) {
			w.instances[i].reading = w.clock
			if !d.writersAfterRows {
				d.lookForWriters(w, i)
			}
			if d.clockAfterRows {
				d.readRows(w, i)
			}
		})
	case n.reading > 0:
		step("feed #a reads", int8(i), 0, func(w *world) {
			cursor := n.reading
			if d.clockAfterRows {
				cursor = w.clock
			} else {
				d.readRows(w, i)
			}
			if d.writersAfterRows {
				d.lookForWriters(w, i)
			}
			n := &w.instances[i]
			n.cursor, n.reading, n.ended = cursor, 0, 0
		})
	}
	if w.restarts > 0 {
		step("instance #a starts anew", int8(i), 0, func(w *world) {
			w.restarts--
			w.instances[i] = node{}
			if w.page.at == int8(i+1) {
				w.page = view{shown: w.page.shown}
			}
		})
	}
}

// lookForWriters finds out whether a transaction has come to an end that was open at the read before.
func (d design) lookForWriters(w *world, i int) {
	n := &w.instances[i]
	if d.noWriters {
		return
	}
	if n.open != 0 && n.open != w.pendingAt {
		n.ended = n.open
	}
	n.open = w.writer()
}

// writer is when the transaction began that is open, 0 if there is none, or it cannot be seen yet.
func (w *world) writer() int8 {
	if w.clock-w.pendingAt <= lookBack {
		return 0
	}
	return w.pendingAt
}

func (d design) readRows(w *world, i int) {
	if d.finds(*w, w.instances[i]) {
		d.apply(w, i, w.row)
	}
}

// finds: a read of that feed has the row, and it is news.
func (d design) finds(w world, n node) bool {
	since := n.cursor // the first read goes back to before all that the database said until then
	if since == 0 && d.fromFirstRead {
		since = n.reading
	}
	if n.ended != 0 {
		since = min(since, n.ended)
	}
	if !d.noOverlap {
		since -= lookBack
	}
	return w.row >= since && w.row > n.newest
}

// apply is Hub.Apply.
func (d design) apply(w *world, i int, version int8) {
	n := &w.instances[i]
	if version <= n.newest && !d.lastWins {
		return
	}
	n.newest = version
	if w.page.at == int8(i+1) && w.page.watched {
		w.page.coming |= 1 << version
	}
}

// browser is what the page may do, and what its instance does for it.
func (d design) browser(w world, step stepper) {
	if w.page.at == 0 {
		for i := range w.instances {
			step("the page connects to #a", int8(i), 0, func(w *world) {
				w.page.at, w.page.asking, w.page.watched = int8(i+1), !d.noAsk, !d.askThenWatch
			})
		}
		return
	}
	n := w.instances[w.page.at-1]
	if w.page.asking && w.page.answer == 0 {
		step("the database says what is current", 0, 0, func(w *world) { w.page.answer = w.row })
		if n.cursor > 0 && n.newest >= max(w.page.shown, 1) {
			step("memory says what is current", 0, 0, func(w *world) { w.page.answer = n.newest })
		}
	}
	if w.page.answer > 0 {
		step("the page is answered", 0, 0, func(w *world) {
			n := &w.instances[w.page.at-1]
			n.newest = max(n.newest, w.page.answer)
			answer := n.newest
			if d.askThenWatch {
				answer = w.page.answer
			}
			if answer > w.page.shown {
				w.page.coming |= 1 << answer
			}
			w.page.asking, w.page.answer, w.page.watched = false, 0, true
		})
	}
	for _, v := range versions(w.page.coming) {
		step("#a comes to the page", v, 0, func(w *world) {
			w.page.coming &^= 1 << v
			if v > w.page.shown || d.pageTakesAll {
				w.page.shown = v
			}
		})
	}
	if w.cuts > 0 {
		step("the page is cut off", 0, 0, func(w *world) { w.cuts--; w.page = view{shown: w.page.shown} })
	}
}

func versions(set uint16) (all []int8) {
	for ; set != 0; set &= set - 1 {
		all = append(all, int8(bits.TrailingZeros16(set)))
	}
	return all
}

// explore looks at every state to which start may lead, and returns how many there are and
// the way to the first that is wrong, or "". It looks at the nearest states first, so that
// the way is the shortest one, or at the farthest first, which finds a page that is wrong in
// the end sooner.
func (d design) explore(start world, farthestFirst bool) (states int, wrong string) {
	type from struct {
		world  world
		action action
	}
	came := map[world]from{start: {}}
	way := func(w world) string {
		var steps []string
		for w != start {
			steps = append([]string{came[w].action.String()}, steps...)
			w = came[w].world
		}
		return strings.Join(steps, "; ")
	}
	for queue := []world{start}; len(queue) > 0 && wrong == ""; {
		w := queue[0]
		if farthestFirst {
			w, queue = queue[len(queue)-1], queue[:len(queue)-1]
		} else {
			queue = queue[1:]
		}
		last := true
		d.next(w, func(a action, after world) {
			last = false
			if _, known := came[after]; known {
				return
			}
			came[after] = from{w, a}
			queue = append(queue, after)
			if wrong == "" && after.page.shown < w.page.shown {
				wrong = "the page goes back: " + way(after)
			}
			if wrong == "" && after.page.shown > after.row {
				wrong = "the page shows what is not committed: " + way(after)
			}
		})
		if wrong == "" && last && w.page.shown != w.row {
			wrong = fmt.Sprintf("the page stays at %d, and %d is committed: %s", w.page.shown, w.row, way(w))
		}
	}
	return len(came), wrong
}

// starts are how much may go wrong at once: with the most of it there are ten
// million states, so that the last are for SHELFCAST_TEST_LONG.
func starts() []world {
	all := []world{
		{ticks: 3, edits: 1, cuts: 1, twice: 1},
		{ticks: 3, edits: 1, twice: 1, restarts: 1},
		{ticks: 3, edits: 2, twice: 1},
		{ticks: 4, edits: 2},
	}
	if os.Getenv("SHELFCAST_TEST_LONG") != "" {
		all = append(all,
			world{ticks: 3, edits: 1, cuts: 1, twice: 1, restarts: 1},
			world{ticks: 3, edits: 2, cuts: 1, twice: 1},
			world{ticks: 3, edits: 2, restarts: 1})
	}
	for i := range all {
		w := &all[i]
		w.clock, w.row, w.page.shown = 1, 1, 1
	}
	return all
}

func TestModelEndsWithCommittedVersion(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s or more")
	}
	for _, w := range starts() {
		states, wrong := design{}.explore(w, false)
		if wrong != "" {
			t.Error(wrong)
		}
		t.Logf("%d states from %d edits, %d cuts, %d times twice and %d starts anew",
			states, w.edits, w.cuts, w.twice, w.restarts)
	}
}

func TestModelNeedsEachRepair(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s or more")
	}
	for name, d := range map[string]design{
		"no feed":                                {noFeed: true},
		"a feed without overlap":                 {noOverlap: true},
		"the clock is read after the rows":       {clockAfterRows: true},
		"a feed that begins at its first read":   {fromFirstRead: true},
		"ask first, and watch then":              {askThenWatch: true},
		"a page that does not ask":               {noAsk: true},
		"a feed that does not see who may write": {noWriters: true},
		"who may write is asked after the rows":  {writersAfterRows: true},
		"the last news wins":                     {lastWins: true},
		"a page that takes everything":           {pageTakesAll: true},
	} {
		var wrong string
		for _, w := range starts() {
			if _, wrong = d.explore(w, true); wrong != "" {
				break
			}
		}
		if wrong == "" {
			t.Errorf("%s: the model still ends correctly", name)
		}
		t.Logf("%s: %s", name, wrong)
	}
}
