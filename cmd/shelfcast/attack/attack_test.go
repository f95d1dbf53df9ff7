// Package attack has the tests of what somebody outside can do to a running
// shop: see TestAttacks.
package attack

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"shelfcast/cmd/shelfcast/fleettest"
	"shelfcast/store/storetest"
)

func TestMain(m *testing.M) {
	beAttacker()
	storetest.Main(m, fleettest.Clean)
}

// An attack is something that anybody can do who reaches the house.
type attack struct {
	name  string
	run   func(a *attacker) // in a process of its own; it says what should not have been answered so
	lasts time.Duration     // at most; 0: usual
	long  bool              // it is not part of the short form

	// Bounds. What is 0 has the usual one.
	memory   int64   // bytes that an instance may take more than before, at the peak
	database float64 // processors that MariaDB may be kept busy with
}

// The usual bounds. An attacker costs what a visitor costs, and no more than a
// machine with other work on it makes of that.
const (
	usually        = 3 * time.Second
	usualMemory    = 24 * mib
	usualDatabase  = 0.3
	slower         = 10 // times as long as without the attack may bystanders wait
	quickMedian    = 3 * time.Millisecond
	quickWorst     = 30 * time.Millisecond // without an attack; less is taken for as much, as it is noise
	keeps          = 1.5                   // times the memory of before may an instance have after the whole suite
	runaway        = 1200 * mib            // an instance that takes as much is killed, for the machine's sake
	untilCollected = 150 * time.Second     // Go collects its garbage each two minutes at least
)

// TestAttacks attacks a house, with one thing after the other, and holds against
// bounds what that costs it in memory, its database in processors, and bystanders
// in time. It does some of the attacks, and all with SHELFCAST_TEST_LONG=1.
// SHELFCAST_TEST_ATTACKS is an expression for the names of those that are wanted.
//
// Its bounds in time are ratios to what bystanders of the same house wait without
// an attack, which is measured before each.
func TestAttacks(t *testing.T) {
	long := os.Getenv("SHELFCAST_TEST_LONG") != ""
	products, calm := 2_000, time.Second
	if long {
		products, calm = 100_000, 2*time.Second
	}
	wanted := regexp.MustCompile(os.Getenv("SHELFCAST_TEST_ATTACKS"))
	h := start(t, products)
	b := bring(t, h.target, h.staff)
	warm(t, h, b)
	before := h.memory()
	var rows []row
	for n := range attacks {
		a := &attacks[n]
		if a.long && !long || !wanted.MatchString(a.name) {
			continue
		}
		rows = append(rows, h.suffer(n, b, calm))
		r := &rows[len(rows)-1]
		for _, what := range r.faults {
			t.Errorf("%s: %s", a.name, what)
		}
	}
	after := h.memory()
	for began := time.Now(); !within(after, before) && wanted.String() == "" && time.Since(began) < untilCollected; after = h.memory() {
		<-time.After(time.Second)
	}
	for i := range after {
		if float64(after[i]) > keeps*float64(before[i]) {
			t.Errorf("instance %d has %d MiB after all attacks, and had %d before: more than %.1f times as much", i+1, after[i]/mib, before[i]/mib, keeps)
		}
	}
	t.Logf("\n%s\nmemory before all attacks %s MiB, after %s MiB", table(rows), inMiB(before), inMiB(after))
}

// warm has the house do what it does every day, so that what it keeps for ever is
// there before the first attack.
func warm(t testing.TB, h *house, b *bystanders) {
	t.Helper()
	for i := range h.instances {
		h.warm(i)
	}
	w := b.during(func() { <-time.After(time.Second) })
	for _, what := range w.faults {
		t.Fatal(what)
	}
}

// warm asks an instance for all that can be had.
func (h *house) warm(instance int) {
	h.t.Helper()
	client := http.Client{Timeout: patience}
	for _, r := range routes() {
		if r.method != "GET" || r.path == "/live/sse" {
			continue
		}
		request, err := http.NewRequest("GET", "http://"+r.at(h.target, instance)+r.path, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+h.staff)
		if response, err := client.Do(request); err == nil { // some wait for longer
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	}
	for id := 1; id <= large+100; id++ {
		for _, path := range []string{"/fragments/card/%d", "/fragments/detail/%d"} {
			if err := fleettest.Answers("http://" + h.target.Public[instance] + fmt.Sprintf(path, id))(); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

func (h *house) memory() (all []int64) {
	for _, i := range h.instances {
		now, _ := memory(h.t, i.Pid())
		all = append(all, now)
	}
	return all
}

func within(after, before []int64) bool {
	for i := range after {
		if float64(after[i]) > keeps*float64(before[i]) {
			return false
		}
	}
	return true
}

// A row is what one attack came to.
type row struct {
	attack
	before, peak, after []int64 // bytes, of each instance
	calm, during        waited
	took                time.Duration
	database            float64
	report              report
	faults              []string
}

// suffer lets an attack happen, and judges.
func (h *house) suffer(n int, b *bystanders, calm time.Duration) row {
	a := attacks[n]
	r := row{attack: a}
	r.calm = b.during(func() { <-time.After(calm) })
	for _, what := range r.calm.faults {
		r.faults = append(r.faults, "before it, "+what)
	}
	r.before = h.memory()
	for _, i := range h.instances {
		resetPeak(h.t, i.Pid())
	}
	cpu, began := processor(h.t, h.mysql.Pid()), time.Now()
	killed := atomic.Bool{}
	r.during = b.during(func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.report = send(h.t, orders{n, cmp.Or(a.lasts, usually), h.target})
		}()
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				h.spare(&killed)
			}
		}
	})
	r.took = time.Since(began)
	r.database = (processor(h.t, h.mysql.Pid()) - cpu).Seconds() / r.took.Seconds()
	if killed.Load() {
		r.faults = append(r.faults, fmt.Sprintf("an instance took %d MiB, and was killed", runaway/mib))
	}
	r.after = h.memory()
	for i, one := range h.instances {
		_, peak := memory(h.t, one.Pid())
		r.peak = append(r.peak, max(peak, r.before[i]))
	}
	for i, k := range r.kinds() {
		h.median[i], h.worst[i] = max(h.median[i], median(k.calm)), max(h.worst[i], worst(k.calm))
	}
	r.judge(h.median, h.worst)
	for i, one := range h.instances {
		// What comes next is not to find room that this one has made.
		if r.peak[i]-r.before[i] > r.bound() || killed.Load() {
			one.Kill()
			one.Start()
			h.warm(i)
			b.reopen(i)
		}
	}
	return r
}

// bound is how many bytes more an instance may take.
func (a attack) bound() int64 { return cmp.Or(a.memory, usualMemory) }

// spare kills an instance that takes too much.
func (h *house) spare(killed *atomic.Bool) {
	for _, i := range h.instances {
		if now, _ := memory(h.t, i.Pid()); now > runaway && !killed.Load() {
			killed.Store(true)
			i.Kill()
			i.Start()
		}
	}
}

// judge holds what happened against the bounds. medians and worsts are the longest
// that bystanders have waited in this run without an attack, by kind: a machine
// with other work on it is not to be taken for a house that suffers.
func (r *row) judge(medians, worsts [3]time.Duration) {
	fault := func(format string, args ...any) { r.faults = append(r.faults, fmt.Sprintf(format, args...)) }
	for _, what := range r.report.Bad {
		fault("%s", what)
	}
	for _, what := range r.during.faults {
		fault("for a bystander, %s", what)
	}
	for i := range r.peak {
		if more := r.peak[i] - r.before[i]; more > r.bound() {
			fault("instance %d took %d MiB more; %d are allowed", i+1, more/mib, r.bound()/mib)
		}
	}
	if most := cmp.Or(r.attack.database, usualDatabase); r.database > most {
		fault("the database was busy with %.2f processors; %.2f are allowed", r.database, most)
	}
	for i, k := range r.kinds() {
		if was, is := max(medians[i], quickMedian), median(k.during); is > slower*was {
			fault("%s it took %v, and %v without an attack: more than %d times", k.what, is, medians[i], slower)
		}
		if was, is := max(worsts[i], quickWorst), worst(k.during); is > slower*was {
			fault("%s it took %v at the 99th percentile, and %v without an attack: more than %d times", k.what, is, worsts[i], slower)
		}
	}
}

// A kind is something that bystanders do.
type kind struct {
	what         string
	calm, during []time.Duration
}

// kinds are all that they do; on the instance where they waited longest.
func (r *row) kinds() []kind {
	slowest := func(calm, during [][]time.Duration) (c, d []time.Duration) {
		for i := range during {
			if worst(during[i]) > worst(d) {
				c, d = calm[i], during[i]
			}
		}
		return c, d
	}
	watch, visit := kind{what: "from a watch to its fragment"}, kind{what: "from a handshake to a fragment"}
	watch.calm, watch.during = slowest(r.calm.watch, r.during.watch)
	visit.calm, visit.during = slowest(r.calm.visit, r.during.visit)
	return []kind{watch, {"from an edit to its frames", r.calm.edit, r.during.edit}, visit}
}

// table is what make attack prints.
func table(rows []row) string {
	text := &strings.Builder{}
	out := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "attack\tRSS before\tpeak\tafter (MiB)\twatch→fragment p50, p99\tedit→frame p50, p99\tvisit p50, p99\tMariaDB\tsent\tanswers\t")
	for _, r := range rows {
		mark := ""
		if len(r.faults) > 0 {
			mark = "FAILED "
		}
		k := r.kinds()
		fmt.Fprintf(out, "%s%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%.1f MB\t%s\t\n", mark, r.name, inMiB(r.before), inMiB(r.peak), inMiB(r.after),
			times(k[0]), times(k[1]), times(k[2]), r.database, float64(r.report.Sent)/1e6, r.report.lines())
	}
	out.Flush()
	return text.String()
}

// times has the median and the 99th percentile, each without and with the attack.
func times(k kind) string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()*1000) }
	return fmt.Sprintf("%s→%s %s→%s ms", ms(median(k.calm)), ms(median(k.during)), ms(worst(k.calm)), ms(worst(k.during)))
}

func inMiB(all []int64) string {
	var parts []string
	for _, bytes := range all {
		parts = append(parts, fmt.Sprint(bytes/mib))
	}
	return strings.Join(parts, "|")
}

func mostFirst(said map[string]int) []string {
	return slices.SortedFunc(maps.Keys(said), func(a, b string) int { return cmp.Or(said[b]-said[a], strings.Compare(a, b)) })
}
