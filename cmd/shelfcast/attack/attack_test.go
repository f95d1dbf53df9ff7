// Package attack tests what an attacker can do to a running fleet: see TestAttacks.
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

	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

func TestMain(m *testing.M) {
	beAttacker()
	testkit.Main(m, fleettest.Clean)
}

// An attack is something that anyone who can reach the fleet can do.
type attack struct {
	name  string
	run   func(a *attacker) // runs in a process of its own, and reports wrong answers
	lasts time.Duration     // at most; 0: usualDuration
	long  bool              // not part of the short form

	// Bounds; 0 means the usual one.
	memory   int64   // growth of an instance at the peak, in bytes
	database float64 // processors that MariaDB may use
}

// The usual bounds. An attacker may cost what a visitor costs, with room for noise of
// the machine. Memory counts twice, because Go's collector runs when garbage has grown
// to the size of the live heap.
const (
	usualDuration  = 3 * time.Second
	usualMemory    = 32 * mib
	usualDatabase  = 0.3
	slower         = 10 // bystanders may wait this many times longer than without the attack
	quickMedian    = 3 * time.Millisecond
	quickWorst     = 50 * time.Millisecond // without an attack; shorter times are noise and count as this
	minSamples     = 10                    // of a kind of wait, to be judged
	maxGrowth      = 1.5                   // of an instance's memory over the whole suite, as a factor
	runaway        = 1200 * mib            // an instance above it is killed, to protect the machine
	untilCollected = 150 * time.Second     // Go collects at least every two minutes
)

// TestAttacks runs one attack after the other, and checks bounds on the memory of the
// instances, the processor time of the database and the waits of bystanders. It runs
// some of the attacks, and all with SHELFCAST_TEST_LONG=1. SHELFCAST_TEST_ATTACKS is a
// regular expression that selects attacks by name.
//
// The bounds on waits are relative to those without an attack, measured before each.
func TestAttacks(t *testing.T) {
	long := os.Getenv("SHELFCAST_TEST_LONG") != ""
	products, calm := 2_000, time.Second
	if long {
		products, calm = 100_000, 2*time.Second
	}
	wanted := regexp.MustCompile(os.Getenv("SHELFCAST_TEST_ATTACKS"))
	env := start(t, products)
	b := openBystanders(t, env.target, env.staff)
	warm(t, env, b)
	before := env.memory()
	var rows []row
	for n := range attacks {
		a := &attacks[n]
		if a.long && !long || !wanted.MatchString(a.name) {
			continue
		}
		rows = append(rows, env.runAttack(n, b, calm))
		r := &rows[len(rows)-1]
		for _, what := range r.faults {
			t.Errorf("%s: %s", a.name, what)
		}
	}
	after := env.memory()
	began := time.Now()
	for ; !within(after, before) && wanted.String() == "" && time.Since(began) < untilCollected; after = env.memory() {
		<-time.After(time.Second)
	}
	for i := range after {
		if float64(after[i]) > maxGrowth*float64(before[i]) {
			t.Errorf("instance %d has %d MiB after all attacks, and had %d before: more than %.1f times as much",
				i+1, after[i]/mib, before[i]/mib, maxGrowth)
		}
	}
	t.Logf("\n%s\nmemory before all attacks %s MiB, after %s MiB", table(rows), inMiB(before), inMiB(after))
}

// warm makes ordinary requests, so that permanent caches are full before the first
// attack.
func warm(t testing.TB, env *environment, b *bystanders) {
	t.Helper()
	for i := range env.instances {
		env.warm(i)
	}
	w := b.during(func() { <-time.After(time.Second) })
	for _, what := range w.faults {
		t.Fatal(what)
	}
}

// warm requests everything from an instance.
func (env *environment) warm(instance int) {
	env.t.Helper()
	client := http.Client{Timeout: patience}
	for _, r := range routes() {
		if r.method != "GET" || r.path == "/live/sse" {
			continue
		}
		request, err := http.NewRequest("GET", "http://"+r.at(env.target, instance)+r.path, nil)
		if err != nil {
			env.t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+env.staff)
		if response, err := client.Do(request); err == nil { // some wait for longer
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	}
	for id := 1; id <= large+100; id++ {
		for _, path := range []string{"/fragments/card/%d", "/fragments/detail/%d", "/shop/products/%d"} {
			if err := fleettest.Answers("http://" + env.target.Public[instance] + fmt.Sprintf(path, id))(); err != nil {
				env.t.Fatal(err)
			}
		}
	}
}

func (env *environment) memory() (all []int64) {
	for _, i := range env.instances {
		now, _ := memory(env.t, i.Pid())
		all = append(all, now)
	}
	return all
}

func within(after, before []int64) bool {
	for i := range after {
		if float64(after[i]) > maxGrowth*float64(before[i]) {
			return false
		}
	}
	return true
}

// A row is the result of one attack.
type row struct {
	attack
	before, peak, after []int64 // bytes, of each instance
	calm, during        waited
	took                time.Duration
	database            float64
	report              report
	faults              []string
}

// runAttack runs an attack and checks its bounds.
func (env *environment) runAttack(n int, b *bystanders, calm time.Duration) row {
	a := attacks[n]
	r := row{attack: a}
	r.calm = b.during(func() { <-time.After(calm) })
	for _, what := range r.calm.faults {
		r.faults = append(r.faults, "before it, "+what)
	}
	r.before = env.memory()
	for _, i := range env.instances {
		resetPeak(env.t, i.Pid())
	}
	cpu, began := processor(env.t, env.mysql.Pid()), time.Now()
	killed := atomic.Bool{}
	r.during = b.during(func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.report = send(env.t, orders{n, cmp.Or(a.lasts, usualDuration), env.target})
		}()
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				env.killRunaway(&killed)
			}
		}
	})
	r.took = time.Since(began)
	r.database = (processor(env.t, env.mysql.Pid()) - cpu).Seconds() / r.took.Seconds()
	if killed.Load() {
		r.faults = append(r.faults, fmt.Sprintf("an instance took %d MiB, and was killed", runaway/mib))
	}
	r.after = env.memory()
	for i, one := range env.instances {
		_, peak := memory(env.t, one.Pid())
		r.peak = append(r.peak, max(peak, r.before[i]))
	}
	for i, k := range r.kinds() {
		env.median[i], env.worst[i] = max(env.median[i], median(k.calm)), max(env.worst[i], worst(k.calm))
	}
	r.judge(env.median, env.worst)
	for i, one := range env.instances {
		// The next attack must not reuse memory that this one has left free.
		if r.peak[i]-r.before[i] > r.bound() || killed.Load() {
			one.Kill()
			one.Start()
			env.warm(i)
			b.reopen(i)
		}
	}
	return r
}

// bound returns how many bytes an instance may grow.
func (a attack) bound() int64 { return cmp.Or(a.memory, usualMemory) }

// killRunaway kills an instance that takes more memory than runaway.
func (env *environment) killRunaway(killed *atomic.Bool) {
	for _, i := range env.instances {
		if now, _ := memory(env.t, i.Pid()); now > runaway && !killed.Load() {
			killed.Store(true)
			i.Kill()
			i.Start()
		}
	}
}

// judge checks the bounds. medians and worsts are the longest waits of bystanders in
// this run without an attack, by kind, so that other load on the machine does not
// fail the test.
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
		if len(k.during) < minSamples {
			continue
		}
		if was, is := max(medians[i], quickMedian), median(k.during); is > slower*was {
			fault("%s it took %v, and %v without an attack: more than %d times", k.what, is, medians[i], slower)
		}
		if was, is := max(worsts[i], quickWorst), worst(k.during); is > slower*was {
			fault("%s it took %v at the 99th percentile, and %v without an attack: more than %d times",
				k.what, is, worsts[i], slower)
		}
	}
}

// A kind is a kind of wait of bystanders.
type kind struct {
	what         string
	calm, during []time.Duration
}

// kinds returns the waits of each kind, on the instance where they were longest.
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

// table returns what make attack prints.
func table(rows []row) string {
	text := &strings.Builder{}
	out := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "attack\tRSS before\tpeak\tafter (MiB)\twatch→fragment p50, p99\t"+
		"edit→frame p50, p99\tvisit p50, p99\tMariaDB\tsent\tanswers\t")
	for _, r := range rows {
		mark := ""
		if len(r.faults) > 0 {
			mark = "FAILED "
		}
		k := r.kinds()
		fmt.Fprintf(out, "%s%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%.1f MB\t%s\t\n",
			mark, r.name, inMiB(r.before), inMiB(r.peak), inMiB(r.after), times(k[0]), times(k[1]), times(k[2]),
			r.database, float64(r.report.Sent)/1e6, r.report.lines())
	}
	out.Flush()
	return text.String()
}

// times formats the median and the 99th percentile, each without and with the attack.
func times(k kind) string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()*1000) }
	return fmt.Sprintf("%s→%s %s→%s ms", ms(median(k.calm)), ms(median(k.during)),
		ms(worst(k.calm)), ms(worst(k.during)))
}

func inMiB(all []int64) string {
	var parts []string
	for _, bytes := range all {
		parts = append(parts, fmt.Sprint(bytes/mib))
	}
	return strings.Join(parts, "|")
}

func byCount(said map[string]int) []string {
	return slices.SortedFunc(maps.Keys(said),
		func(a, b string) int { return cmp.Or(said[b]-said[a], strings.Compare(a, b)) })
}
