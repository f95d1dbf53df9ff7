package realtime

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// freshness has the bounds of its histogram in seconds: from a millisecond to
// the two seconds of the promise, and some beyond.
var freshness = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30}

// ages are how old versions were when they were written: counted without a lock
// by whoever writes, and added up now and then. A histogram of the library's
// costs each delivery a twentieth of its time.
type ages struct {
	counts [len(freshness) + 1]uint64 // by bound; the last has none
	sum    time.Duration
}

func (a *ages) add(age time.Duration) {
	at := 0
	for at < len(freshness) && age > time.Duration(freshness[at]*float64(time.Second)) {
		at++
	}
	a.counts[at]++
	a.sum += age
}

// ageHistogram is the sum of all ages, as a Prometheus histogram.
type ageHistogram struct {
	desc   *prometheus.Desc
	counts [len(freshness) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

func newAgeHistogram(to prometheus.Registerer, name, help string) *ageHistogram {
	h := &ageHistogram{desc: prometheus.NewDesc(name, help, nil, nil)}
	if to != nil {
		to.MustRegister(h)
	}
	return h
}

// take adds up a, which is empty then.
func (h *ageHistogram) take(a *ages) {
	for at, n := range a.counts {
		if n > 0 {
			h.counts[at].Add(n)
		}
	}
	h.sum.Add(int64(a.sum))
	*a = ages{}
}

// Describe and Collect make it a prometheus.Collector.
func (h *ageHistogram) Describe(to chan<- *prometheus.Desc) { to <- h.desc }

// Collect: see Describe.
func (h *ageHistogram) Collect(to chan<- prometheus.Metric) { to <- h.metric() }

func (h *ageHistogram) metric() prometheus.Metric {
	buckets := make(map[float64]uint64, len(freshness))
	count := uint64(0)
	for at := range h.counts {
		count += h.counts[at].Load()
		if at < len(freshness) {
			buckets[freshness[at]] = count
		}
	}
	return prometheus.MustNewConstHistogram(h.desc, count, time.Duration(h.sum.Load()).Seconds(), buckets)
}
