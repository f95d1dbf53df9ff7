package realtime

import (
	"context"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"shelfcast/store"
)

// What is counted without locks is what the library would have counted, in its
// classic buckets and in its native ones.
func TestLatencyHistogramMatchesPrometheus(t *testing.T) {
	library := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "theirs", Help: "h", Buckets: latencyBounds[:], NativeHistogramBucketFactor: 1.1,
		NativeHistogramZeroThreshold: 1. / 2048,
	})
	ours := newLatencyHistogram(nil, "ours", "h")
	var workers [2]latencies
	add := func(n int, age time.Duration) {
		library.Observe(age.Seconds())
		workers[n%2].add(age)
		if n%7 == 0 {
			ours.take(&workers[n%2])
		}
	}
	n := 0
	for _, bound := range latencyBounds { // which are in the bucket that they bound
		for _, off := range []time.Duration{-1, 0, 1} {
			n++
			add(n, time.Duration(bound*float64(time.Second))+off)
		}
	}
	for _, age := range []time.Duration{0, 1, 488_281, 500 * time.Second} {
		n++
		add(n, age)
	}
	for range 20_000 {
		n++
		add(n, time.Duration(rand.Int64N(1<<(10+rand.IntN(29)))))
	}
	ours.take(&workers[0])
	ours.take(&workers[1])
	ours.take(&workers[0]) // is empty
	got, want := histogram(t, ours.metric()), histogram(t, library)
	if *got.Schema != *want.Schema || *got.ZeroThreshold != *want.ZeroThreshold {
		t.Errorf("schema %d, zero up to %v, want %d and %v",
			*got.Schema, *got.ZeroThreshold, *want.Schema, *want.ZeroThreshold)
	}
	if d := got.GetSampleSum() - want.GetSampleSum(); d > 1e-3 || d < -1e-3 {
		t.Errorf("the sum is %v, want %v", got.GetSampleSum(), want.GetSampleSum())
	}
	for _, h := range []*dto.Histogram{got, want} {
		h.SampleSum, h.CreatedTimestamp = nil, nil
	}
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// What is above all buckets is in the last one, and lost to no sum.
func TestLatencyAboveAllBuckets(t *testing.T) {
	ours := newLatencyHistogram(nil, "ours", "h")
	var w latencies
	for _, age := range []time.Duration{time.Hour, 50 * 365 * 24 * time.Hour, time.Millisecond} {
		w.add(age)
	}
	ours.take(&w)
	h := histogram(t, ours.metric())
	sum := int64(0)
	for _, n := range spread(h) {
		sum += n
	}
	if h.GetSampleCount() != 3 || sum != 3 || h.Bucket[len(h.Bucket)-1].GetCumulativeCount() != 1 {
		t.Errorf("got %v", h)
	}
}

// spread has the counts of native buckets, which are told as differences.
func spread(h *dto.Histogram) (counts []int64) {
	n := int64(0)
	for _, d := range h.PositiveDelta {
		n += d
		counts = append(counts, n)
	}
	return counts
}

func histogram(t *testing.T, of prometheus.Metric) *dto.Histogram {
	t.Helper()
	var m dto.Metric
	if err := of.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.Histogram
}

// value is of the metric of that name, and of that label, if there is one.
func value(t *testing.T, from *prometheus.Registry, name string, label ...string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.Metric {
			if family.GetName() == name && (len(label) == 0 || m.Label[0].GetValue() == label[0]) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s %v", name, label)
	return 0
}

func TestVersionsSkippedBySlowSessionAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, metrics := newShop(rev(1, 10), rev(2, 10)), prometheus.NewRegistry()
		h := quietHub(t, s, Config{Metrics: metrics})
		slow, quick := join(t, h, Full), join(t, h, Full)
		slow.watch(rev(1, 10), rev(2, 10))
		quick.watch(rev(1, 10), rev(2, 10))
		synctest.Wait()
		if n := value(t, metrics, "shelfcast_watched_products"); n != 2 {
			t.Errorf("%v products are watched", n)
		}
		for version := int64(11); version <= 20; version++ {
			for id := int64(1); id <= 2; id++ {
				s.set(rev(id, version))
				h.Apply(rev(id, version))
				synctest.Wait() // until the slow one's first frame is on its way
				quick.sees(rev(id, version))
			}
		}
		// It was sent product 1 at 11, and can yet be sent both at 20.
		if n := value(t, metrics, "shelfcast_coalesced_total", "session"); n != (19-11)+(19-10) {
			t.Errorf("%v versions were coalesced at a session", n)
		}
		time.Sleep(1100 * time.Millisecond)
		if n := value(t, metrics, "shelfcast_sessions_slow"); n != 1 {
			t.Errorf("%v sessions are slow", n)
		}
		slow.sees(rev(1, 11))
		slow.both()
		time.Sleep(1100 * time.Millisecond)
		if n := value(t, metrics, "shelfcast_sessions_slow"); n != 0 {
			t.Errorf("%v sessions are slow, want 0", n)
		}
	})
}

// A session that gets room while a fragment is fetched has it fetched once more,
// and told once more; it is one version all the same.
func TestRedeliveredVersionIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, metrics := newShop(rev(1, 10), rev(2, 10)), prometheus.NewRegistry()
		h := quietHub(t, s, Config{Metrics: metrics})
		slow, late := join(t, h, Full), join(t, h, Full)
		slow.watch(rev(1, 10), rev(2, 10))
		late.watch(rev(1, 10), rev(2, 10))
		synctest.Wait()
		apply := func(r store.Rev) {
			s.set(r)
			h.Apply(r)
			synctest.Wait()
		}
		apply(rev(1, 11))
		late.sees(rev(1, 11)) // and the slow one does not read it
		synctest.Wait()
		apply(rev(2, 11)) // which the late one reads while the next one is fetched
		s.delay(time.Second, 2)
		apply(rev(2, 12))
		time.Sleep(500 * time.Millisecond)
		late.sees(rev(2, 11))
		late.sees(rev(2, 12))
		time.Sleep(time.Second)
		if n := s.filled(); n != 4 {
			t.Errorf("fragments of three versions were loaded %d times", n)
		}
		if n := value(t, metrics, "shelfcast_coalesced_total", "session"); n != 1 { // 11 of product 2
			t.Errorf("%v versions were coalesced at a session", n)
		}
	})
}

func TestCoalescedVersionsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, metrics := newShop(), prometheus.NewRegistry()
		h := quietHub(t, s, Config{Metrics: metrics})
		page := join(t, h, Full)
		var all []store.Rev
		for id := range int64(maxLoads + 1) {
			all = append(all, rev(id+1, 10))
			s.set(rev(id+1, 10))
			s.delay(time.Second, id+1)
		}
		page.watch(all...)
		page.nothing()
		synctest.Wait()
		for version := int64(11); version <= 13; version++ {
			for _, r := range all {
				s.set(rev(r.ID, version))
				h.Apply(rev(r.ID, version))
			}
			synctest.Wait() // all fillers are at work on version 11, and one product waits
		}
		// Of those at work 12 folds into 13, and of the one that waits 11 does too.
		if n := value(t, metrics, "shelfcast_coalesced_total", "load"); n != maxLoads+2 {
			t.Errorf("%v versions were coalesced during load", n)
		}
		topic := h.topics[1][0]
		h.runFlushCycle([]news{{topic: topic, version: 14, text: []byte(`{}`)},
			{topic: topic, version: 15, text: []byte(`{}`)}})
		if n := value(t, metrics, "shelfcast_coalesced_total", "flush"); n < 1 {
			t.Errorf("%v versions were coalesced before the flush", n)
		}
	})
}

func TestCloseReasonsAreCounted(t *testing.T) {
	drop := func(*Hub, *browser) { time.Sleep(2 * time.Minute) }
	for reason, c := range map[string]struct {
		cfg Config
		end func(*Hub, *browser)
	}{
		"client_close": {Config{}, func(_ *Hub, b *browser) { b.conn.Close() }},
		"invalid_input": {Config{},
			func(_ *Hub, b *browser) { b.say(map[string]string{"watch": "everything"}); drop(nil, b) }},
		"ping_timeout": {Config{}, drop},
		"stalled":      {Config{}, func(_ *Hub, b *browser) { b.say(map[string]int{"ping": 1}); drop(nil, b) }},
		"max_age":      {Config{MaxAge: 10 * time.Second}, drop},
		"shutdown":     {Config{}, func(h *Hub, _ *browser) { h.Drain(context.Background(), time.Second); drop(nil, nil) }},
	} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				metrics := prometheus.NewRegistry()
				c.cfg.Metrics = metrics
				h := quietHub(t, newShop(rev(1, 10), rev(2, 10)), c.cfg)
				b := join(t, h, Full)
				b.watch(rev(1, 10), rev(2, 10))
				if reason != "stalled" {
					go io.Copy(io.Discard, b.conn) // it reads, and answers nothing
				}
				c.end(h, b)
				synctest.Wait()
				for _, each := range closeReasons {
					want := 0.0
					if each == reason {
						want = 1
					}
					if n := value(t, metrics, "shelfcast_sessions_closed_total", each); n != want {
						t.Errorf("%s: %v", each, n)
					}
				}
				if n := value(t, metrics, "shelfcast_draining"); (n == 1) != (reason == "shutdown") {
					t.Errorf("draining: %v", n)
				}
			})
		})
	}
}

// An edit that nobody traces costs what it cost before there were traces.
func TestUntracedEditAllocatesNothing(t *testing.T) {
	s := newShop(rev(1, 10), rev(2, 10))
	h := NewHub(s, Config{})
	b := &session{hub: h, conn: still{}}
	h.table.add(b)
	watched := []Watch{{Rev: rev(1, 10), View: "card"}, {Rev: rev(2, 10), View: "card"}}
	if refused := b.register(nil, watched); refused != nil {
		t.Fatal(refused)
	}
	h.Apply(rev(1, 10))
	if n := testing.AllocsPerRun(100, func() { h.Apply(rev(1, 10)); h.Apply(rev(3, 10)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testutil.ToFloat64(h.metrics.coalescedLoad); n != 0 {
		t.Errorf("%v versions were coalesced during load", n)
	}
}
