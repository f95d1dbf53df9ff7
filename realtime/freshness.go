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

// freshness has the classic bounds of the histograms, in seconds: from a
// millisecond to the two seconds of the promise, and some beyond.
var freshness = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30}

// The native buckets are those of schema 3: eight for each doubling, from half a
// millisecond, below which all is as good as at once, to eight minutes, above
// which all is as bad.
const (
	schema     = 3
	perDouble  = 1 << schema
	firstPower = -11 // of two, in seconds
	lastPower  = 9
	natives    = (lastPower - firstPower) * perDouble
)

// A cell is what lies between two bounds, of either kind: so an age is looked up
// once, and is in the right bucket of both.
type cell struct {
	upTo    time.Duration // included
	classic int           // of freshness; len(freshness): above all
	native  int32         // the index of its bucket by schema; zeroBucket: below all
}

const (
	zeroBucket = math.MinInt32
	cells      = natives + 1 + len(freshness) // some coincide, and are none
)

// grid has the cells by their bounds, and where among them to begin to look for
// an age of so many bits. Static after init.
var grid, lookFrom = func() (all []cell, from [65]uint8) {
	seconds := slices.Clone(freshness[:])
	for i := range natives + 1 {
		seconds = append(seconds, math.Exp2(firstPower+float64(i)/perDouble))
	}
	slices.Sort(seconds)
	for _, bound := range slices.Compact(seconds) {
		classic, _ := slices.BinarySearch(freshness[:], bound)
		native := int32(math.Ceil(math.Round(math.Log2(bound)*perDouble*1e6) / 1e6)) // rounded: a bound is in the bucket below it
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

// cellOf is the index of an age's cell in grid; len(grid): above all.
func cellOf(age time.Duration) int {
	at := int(lookFrom[bits.Len64(uint64(age))])
	for at < len(grid) && age > grid[at].upTo {
		at++
	}
	return at
}

// ages are how old versions were when they were written: counted without a lock
// by whoever writes, and added up now and then. A histogram of the library's
// costs each delivery a twentieth of its time.
type ages struct {
	counts   [cells + 1]uint32 // by cell; the last has no bound
	low, top int               // what is between, low included, may be more than 0
	sum      time.Duration
}

func (a *ages) add(age time.Duration) {
	at := cellOf(age)
	if a.top == 0 {
		a.low = at
	}
	a.low, a.top = min(a.low, at), max(a.top, at+1)
	a.counts[at]++
	a.sum += age
}

// ageHistogram is the sum of all ages, as a Prometheus histogram of both kinds.
type ageHistogram struct {
	desc   *prometheus.Desc
	made   time.Time
	counts [cells + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

func newAgeHistogram(to prometheus.Registerer, name, help string) *ageHistogram {
	h := &ageHistogram{desc: prometheus.NewDesc(name, help, nil, nil), made: time.Now()}
	if to != nil {
		to.MustRegister(h)
	}
	return h
}

// take adds up a, which is empty then.
func (h *ageHistogram) take(a *ages) {
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
func (h *ageHistogram) Describe(to chan<- *prometheus.Desc) { to <- h.desc }

// Collect: see Describe.
func (h *ageHistogram) Collect(to chan<- prometheus.Metric) { to <- h.metric() }

func (h *ageHistogram) metric() prometheus.Metric {
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
		if at < len(grid) && grid[at].classic < len(freshness) {
			classic[freshness[grid[at].classic]] = count
		}
	}
	sum := time.Duration(h.sum.Load()).Seconds()
	return both{
		Metric: prometheus.MustNewConstHistogram(h.desc, count, sum, classic),
		native: prometheus.MustNewConstNativeHistogram(h.desc, count, sum, native, nil, zero, schema, math.Exp2(firstPower), h.made),
	}
}

// both is a histogram of both kinds, which the library has for those only that
// count by themselves.
type both struct {
	prometheus.Metric // the classic one
	native            prometheus.Metric
}

// Write has the buckets of both.
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
