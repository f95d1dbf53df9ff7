package realtime

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// latencyBounds are the classic bounds of the histograms, in seconds: from a millisecond to
// the promised two seconds, and some beyond.
var latencyBounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30}

// The native buckets are those of schema 3: eight for each doubling, from half a millisecond,
// below which nobody notices a difference, to eight minutes.
const (
	schema     = 3
	perDouble  = 1 << schema
	firstPower = -11 // of two, in seconds
	lastPower  = 9
	natives    = (lastPower - firstPower) * perDouble
)

// A cell lies between two adjacent bounds, classic or native. A latency is looked up once,
// and is in the right bucket of both kinds.
type cell struct {
	upTo    time.Duration // inclusive
	classic int           // of freshness; len(freshness): above all
	native  int32         // index of its native bucket; zeroBucket: below all of them
}

const (
	zeroBucket = math.MinInt32
	cells      = natives + 1 + len(latencyBounds) // at most; some bounds coincide
)

// grid lists the cells in ascending order. lookFrom[n] is the first cell that a latency of n
// bits can be in. Both are static after init.
var grid, lookFrom = func() (all []cell, from [65]uint8) {
	seconds := slices.Clone(latencyBounds[:])
	for i := range natives + 1 {
		seconds = append(seconds, math.Exp2(firstPower+float64(i)/perDouble))
	}
	slices.Sort(seconds)
	for _, bound := range slices.Compact(seconds) {
		classic, _ := slices.BinarySearch(latencyBounds[:], bound)
		// Rounded, because a bound belongs to the bucket below it.
		native := int32(math.Ceil(math.Round(math.Log2(bound)*perDouble*1e6) / 1e6))
		if native <= firstPower*perDouble {
			native = zeroBucket
		}
		all = append(all, cell{
			upTo: time.Duration(bound*float64(time.Second) + 1e-3), classic: classic,
			native: min(native, lastPower*perDouble),
		})
	}
	for n := range from {
		least := time.Duration(0)
		if n > 0 {
			least = time.Duration(1) << min(n-1, 62)
		}
		at, _ := slices.BinarySearchFunc(all, least, func(c cell, d time.Duration) int { return int(c.upTo - d) })
		from[n] = uint8(at)
	}
	return all, from
}()

// cellOf returns the index of a latency's cell in grid, and len(grid) if it is above all.
func cellOf(age time.Duration) int {
	at := int(lookFrom[bits.Len64(uint64(age))])
	for at < len(grid) && age > grid[at].upTo {
		at++
	}
	return at
}

// latencies counts how old versions were when they were written. Each worker has its own, so
// it needs no lock, and adds it to the histogram now and then. A histogram of the Prometheus
// library would cost each delivery a twentieth of its time.
type latencies struct {
	counts   [cells + 1]uint32 // by cell; the last one has no bound
	low, top int               // only counts from low to below top may be non-zero
	sum      time.Duration
}

func (a *latencies) add(age time.Duration) {
	at := cellOf(age)
	if a.top == 0 {
		a.low = at
	}
	a.low, a.top = min(a.low, at), max(a.top, at+1)
	a.counts[at]++
	a.sum += age
}

// latencyHistogram sums latencies, as a Prometheus histogram of both kinds.
type latencyHistogram struct {
	desc   *prometheus.Desc
	made   time.Time
	counts [cells + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

func newLatencyHistogram(to prometheus.Registerer, name, help string) *latencyHistogram {
	h := &latencyHistogram{desc: prometheus.NewDesc(name, help, nil, nil), made: time.Now()}
	if to != nil {
		to.MustRegister(h)
	}
	return h
}

// take adds a, and empties it.
func (h *latencyHistogram) take(a *latencies) {
	if a.top == 0 {
		return
	}
	for at := a.low; at < a.top; at++ {
		if n := a.counts[at]; n > 0 {
			h.counts[at].Add(uint64(n))
			a.counts[at] = 0
		}
	}
	h.sum.Add(int64(a.sum))
	a.low, a.top, a.sum = 0, 0, 0
}

// Describe and Collect make it a prometheus.Collector.
func (h *latencyHistogram) Describe(to chan<- *prometheus.Desc) { to <- h.desc }

// Collect: see Describe.
func (h *latencyHistogram) Collect(to chan<- prometheus.Metric) { to <- h.metric() }

func (h *latencyHistogram) metric() prometheus.Metric {
	classic, native := map[float64]uint64{}, map[int]int64{}
	count, zero := uint64(0), uint64(0)
	for at := range len(grid) + 1 {
		n := h.counts[at].Load()
		count += n
		switch {
		case n == 0:
		case at == len(grid): // above all: in the last bucket
			native[lastPower*perDouble] += int64(n)
		case grid[at].native == zeroBucket:
			zero += n
		default:
			native[int(grid[at].native)] += int64(n)
		}
		if at < len(grid) && grid[at].classic < len(latencyBounds) {
			classic[latencyBounds[grid[at].classic]] = count
		}
	}
	sum := time.Duration(h.sum.Load()).Seconds()
	return both{
		Metric: prometheus.MustNewConstHistogram(h.desc, count, sum, classic),
		native: prometheus.MustNewConstNativeHistogram(h.desc, count, sum, native, nil, zero, schema,
			math.Exp2(firstPower), h.made),
	}
}

// both is a constant histogram of both kinds, which the library only offers for histograms that
// it counts itself.
type both struct {
	prometheus.Metric // the classic one
	native            prometheus.Metric
}

// Write writes the buckets of both.
func (b both) Write(to *dto.Metric) error {
	var native dto.Metric
	if err := b.native.Write(&native); err != nil {
		return err
	}
	if err := b.Metric.Write(to); err != nil {
		return err
	}
	h, n := to.Histogram, native.Histogram
	h.Schema, h.ZeroThreshold, h.ZeroCount = n.Schema, n.ZeroThreshold, n.ZeroCount
	h.PositiveSpan, h.PositiveDelta = n.PositiveSpan, n.PositiveDelta
	h.CreatedTimestamp = n.CreatedTimestamp
	return nil
}
