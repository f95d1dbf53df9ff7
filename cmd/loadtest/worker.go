package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// workerArg makes this program a worker, which runs a part of the browsers. It reads
// orders from its input and writes a tick each second.
const workerArg = "loadtest-worker"

// orders are the first line of a worker's input, in JSON.
type orders struct {
	Live, Sources []string
	From, To      int // the browsers
	Products      []int64
	Each          int  // products for each browser
	Hot           bool // all browsers watch the first product
	Rate          float64
	Slow          int   // percent
	Fresh         int64 // newer versions are edits, older ones first deliveries
}

// order is a later line.
type order struct {
	Do      string          `json:"do"` // cut, churn, rest, slow, wake, check
	Version map[int64]int64 `json:"version,omitempty"`
}

// tick has what happened in a second, or in all seconds so far.
type tick struct {
	Sessions int `json:"sessions"` // in a tick of a second: the change
	Opened   int `json:"opened"`
	Refused  int `json:"refused"` // with 503
	// Sessions opened in each second, by the server's clock: on a busy machine the
	// browsers see those of two seconds in one.
	Dates      map[int64]int `json:"dates,omitempty"`
	Lost       int           `json:"lost"`          // cut off, or closed by the server
	Planned    int           `json:"planned"`       // of these, closed with 1012 by a stopping instance
	Cut        string        `json:"cut,omitempty"` // how the last of the others ended
	Errors     int           `json:"errors"`        // anything else that failed
	Error      string        `json:"error,omitempty"`
	Deliveries int           `json:"deliveries"` // of edits
	First      int           `json:"first"`      // first deliveries of a product to a page
	Late       []byte        `json:"late,omitempty"`
	Checked    bool          `json:"checked,omitempty"`
	Wrong      int           `json:"wrong"`
}

// workers are the browsers of this process.
type workers struct {
	orders   orders
	browsers []*browser
	rest     context.CancelFunc // ends the churn

	mu     sync.Mutex
	now    tick
	late   *hdrhistogram.Histogram // of the edits' deliveries to browsers that read, µs
	asleep chan struct{}           // not nil while slow browsers do not read; closed to resume them
}

// newLate returns a histogram of microseconds, up to a minute.
func newLate() *hdrhistogram.Histogram { return hdrhistogram.New(1, 60_000_000, 3) }

func work(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	c := &workers{late: newLate()}
	if !lines.Scan() {
		return lines.Err()
	}
	if err := json.Unmarshal(lines.Bytes(), &c.orders); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	c.gather(ctx, &all)
	said := make(chan struct{})
	go func() {
		defer close(said)
		c.report(ctx, out)
	}()
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			cancel()
			return err
		}
		c.obey(ctx, &all, o)
	}
	cancel()
	c.obey(ctx, &all, order{Do: "wake"})
	c.obey(ctx, &all, order{Do: "cut"})
	all.Wait()
	<-said
	return nil
}

func (c *workers) gather(ctx context.Context, all *sync.WaitGroup) {
	for n := c.orders.From; n < c.orders.To; n++ {
		b := &browser{n: n, workers: c, slow: n%100 < c.orders.Slow, shown: map[int64]int64{}}
		// The same products in each run, whatever the number of processes.
		dice := rand.New(rand.NewPCG(7, uint64(n)))
		if c.orders.Hot {
			b.shown[c.orders.Products[0]] = 0
		}
		for len(b.shown) < min(c.orders.Each, len(c.orders.Products)) {
			b.shown[c.orders.Products[dice.IntN(len(c.orders.Products))]] = 0
		}
		c.browsers = append(c.browsers, b)
	}
	for k, b := range c.browsers {
		turn := time.Duration(float64(k) / c.orders.Rate * float64(time.Second))
		all.Go(func() { b.live(ctx, turn) })
	}
}

func (c *workers) obey(ctx context.Context, all *sync.WaitGroup, o order) {
	switch o.Do {
	case "cut":
		for _, b := range c.browsers {
			b.cut()
		}
	case "churn":
		var churning context.Context
		churning, c.rest = context.WithCancel(ctx)
		all.Go(func() { c.churn(churning) })
	case "rest":
		c.rest()
	case "slow":
		c.mu.Lock()
		c.asleep = make(chan struct{})
		c.mu.Unlock()
	case "wake":
		c.mu.Lock()
		if c.asleep != nil {
			close(c.asleep)
			c.asleep = nil
		}
		c.mu.Unlock()
	case "check":
		wrong := 0
		for _, b := range c.browsers {
			wrong += b.wrong(o.Version)
		}
		c.count(func(t *tick) { t.Wrong, t.Checked = wrong, true })
	}
}

// stay is the average time that a shopper stays on a page in the mode churn.
const stay = 30 * time.Second

// churn closes sessions, which soon reconnect as other shoppers.
func (c *workers) churn(ctx context.Context) {
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	share := 1 - math.Exp(-0.1/stay.Seconds())
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		for _, b := range c.browsers {
			if rand.Float64() < share {
				b.cut()
			}
		}
	}
}

// report writes a tick each second.
func (c *workers) report(ctx context.Context, out io.Writer) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	encoder := json.NewEncoder(out)
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		t := c.now
		if c.late.TotalCount() > 0 {
			late, err := c.late.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
			if err != nil {
				t.Errors, t.Error = t.Errors+1, err.Error()
			}
			t.Late = late
			c.late.Reset()
		}
		c.now = tick{}
		c.mu.Unlock()
		if err := encoder.Encode(t); err != nil {
			return // the parent has ended
		}
	}
}

func (c *workers) count(f func(*tick)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.now)
}

func (c *workers) fail(err error) {
	c.count(func(t *tick) { t.Errors++; t.Error = fmt.Sprint(err) })
}

func (c *workers) delivered(b *browser, version, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if version <= c.orders.Fresh {
		c.now.First++
		return
	}
	c.now.Deliveries++
	if !b.slow {
		_ = c.late.RecordValue(min(max(now-version, 1), 60_000_000)) // within its bounds
	}
}

// pause blocks a slow browser while it must not read.
func (c *workers) pause(b *browser) {
	if !b.slow {
		return
	}
	c.mu.Lock()
	asleep := c.asleep
	c.mu.Unlock()
	if asleep != nil {
		<-asleep
	}
}
