package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/procfs"
	"github.com/schollz/progressbar/v3"
)

// settle is the wait between the last edit and the comparison of pages with the
// shop: more than the two seconds that Shelfcast promises.
const settle = 3 * time.Second

// A coordinator runs a mode with its workers, and collects what they report.
type coordinator struct {
	settings Settings
	shop     *shop
	products []product
	workers  []*workerProcess
	ticks    chan tick
	server   []procfs.Proc
	bar      *progressbar.ProgressBar

	report *Report
	began  time.Time
	late   *hdrhistogram.Histogram // since the phase began
	phase  *Phase

	// Of the current second.
	second  tick
	lateNow *hdrhistogram.Histogram
	watch   func() // called at its end; may be nil

	checked int           // workers that have compared their pages
	dates   map[int64]int // sessions opened, by the server's clock
	before  map[int64]int // the same at the start of the phase
}

// A workerProcess runs a part of the browsers.
type workerProcess struct {
	say io.WriteCloser
	cmd *exec.Cmd
}

func (h *workerProcess) tell(v any) error { return json.NewEncoder(h.say).Encode(v) }

func perform(ctx context.Context, s Settings) (_ *Report, err error) {
	c := &coordinator{
		settings: s, shop: &shop{at: strings.TrimSuffix(s.Admin, "/"), token: s.Token},
		ticks: make(chan tick, 64), dates: map[int64]int{}, began: time.Now(), late: newLate(),
		lateNow: newLate(), phase: &Phase{},
		report: &Report{Mode: s.Mode, Browsers: s.Browsers, Products: s.Products, all: newLate()},
	}
	c.shop.client.Timeout = 30 * time.Second
	for _, pid := range s.Pid {
		p, err := procfs.NewProc(pid)
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
		c.server = append(c.server, p)
	}
	if err := c.shop.prepare(ctx, s.Prepare); err != nil {
		return nil, err
	}
	if c.products, err = c.shop.all(ctx, 50_000); err != nil {
		return nil, err
	}
	if len(c.products) < s.Products {
		return nil, fmt.Errorf("the shop has %d products, and each browser watches %d: see --prepare",
			len(c.products), s.Products)
	}
	if !s.Quiet {
		c.bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSpinnerType(14),
			progressbar.OptionClearOnFinish())
		defer c.bar.Finish()
	}
	_, c.report.RSSBefore = c.usage()
	if err := c.startWorkers(); err != nil {
		return nil, err
	}
	defer c.stopWorkers()
	if err := c.gather(ctx); err != nil {
		return nil, err
	}
	if err := c.runMode(ctx); err != nil {
		return nil, err
	}
	if err := c.check(ctx); err != nil {
		return nil, err
	}
	return c.report, nil
}

// startWorkers starts the workers.
func (c *coordinator) startWorkers() error {
	s := c.settings
	fresh, ids := int64(0), make([]int64, len(c.products))
	for n, p := range c.products {
		fresh, ids[n] = max(fresh, p.Version), p.ID
	}
	var talking sync.WaitGroup
	for n := range s.Procs {
		cmd := exec.Command(os.Args[0], workerArg)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		h := &workerProcess{in, cmd}
		c.workers = append(c.workers, h)
		o := orders{
			Live: s.Live, Sources: s.Sources, Products: ids, Each: s.Products, Hot: s.hot(),
			From: s.Browsers * n / s.Procs, To: s.Browsers * (n + 1) / s.Procs,
			Rate: float64(s.Rate) / float64(s.Procs), Fresh: fresh,
		}
		if s.Mode == "slow" {
			o.Slow = s.Slow
		}
		if err := h.tell(o); err != nil {
			return err
		}
		talking.Go(func() {
			lines := bufio.NewScanner(out)
			lines.Buffer(nil, 16<<20)
			for lines.Scan() {
				var t tick
				if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
					t = tick{Errors: 1, Error: err.Error()}
				}
				c.ticks <- t
			}
		})
	}
	go func() { talking.Wait(); close(c.ticks) }()
	return nil
}

// hot reports whether all browsers watch one product, which is the only one that is
// edited. Otherwise all products are edited in turn.
func (s Settings) hot() bool { return s.Mode != "spread" && s.Mode != "idle" && s.Mode != "deploy" }

// stopWorkers stops the workers and waits for their end.
func (c *coordinator) stopWorkers() {
	for _, h := range c.workers {
		h.say.Close()
	}
	for range c.ticks { // ticks after the report are dropped
	}
	for _, h := range c.workers {
		_ = h.cmd.Wait() // the report is complete
	}
}

// tellAll sends an order to all workers.
func (c *coordinator) tellAll(o order) error {
	for _, h := range c.workers {
		if err := h.tell(o); err != nil {
			return err
		}
	}
	return nil
}

// until collects ticks until done returns true; it is called after each second.
func (c *coordinator) until(ctx context.Context, done func() bool) error {
	for n := 1; ; n++ {
		select {
		case t, ok := <-c.ticks:
			if !ok {
				return errors.New("a worker process has ended")
			}
			c.note(t, n%len(c.workers) == 0)
			if n%len(c.workers) == 0 && done() {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// gather waits until all sessions are open and have received what they watch. It gives
// up after half a minute with errors and without a new session.
func (c *coordinator) gather(ctx context.Context) error {
	began, first := time.Now(), -1
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	opened, moved := 0, began
	err := c.until(ctx, func() bool {
		if c.report.Opened != opened || c.report.Errors == 0 {
			opened, moved = c.report.Opened, time.Now()
		}
		if time.Since(moved) > cmp.Or(c.settings.patience, 30*time.Second) {
			giveUp(fmt.Errorf("%d of %d sessions are open, and no more can be opened: %s",
				c.report.Sessions, c.settings.Browsers, c.report.LastError))
			return false
		}
		same := first == c.report.First
		first = c.report.First
		return same && c.report.Sessions == c.settings.Browsers && first >= c.settings.Browsers*c.settings.Products
	})
	c.report.GatherSeconds = time.Since(began).Seconds()
	return err
}

// runMode runs the phases of the mode.
func (c *coordinator) runMode(ctx context.Context) error {
	switch c.settings.Mode {
	case "idle":
		return c.runPhase(ctx, "idle", false)
	case "storm":
		if err := c.runPhase(ctx, "before", true); err != nil {
			return err
		}
		cut := time.Now()
		if err := c.tellAll(order{Do: "cut"}); err != nil {
			return err
		}
		opened := c.report.Opened
		c.watch = func() {
			if c.report.BackSeconds == 0 && c.report.Opened-opened >= c.settings.Browsers && c.allConnected() {
				c.report.BackSeconds = time.Since(cut).Seconds()
			}
		}
		return c.runPhase(ctx, "storm", true)
	case "churn":
		if err := c.tellAll(order{Do: "churn"}); err != nil {
			return err
		}
		if err := c.runPhase(ctx, "churn", true); err != nil {
			return err
		}
		return c.tellAll(order{Do: "rest"})
	case "slow":
		if err := c.runPhase(ctx, "all read", true); err != nil {
			return err
		}
		if err := c.tellAll(order{Do: "slow"}); err != nil {
			return err
		}
		if err := c.runPhase(ctx, fmt.Sprintf("%d %% do not read", c.settings.Slow), true); err != nil {
			return err
		}
		return c.tellAll(order{Do: "wake"})
	}
	return c.runPhase(ctx, c.settings.Mode, true)
}

func (c *coordinator) allConnected() bool { return c.report.Sessions == c.settings.Browsers }

// reconnectTimeout bounds the wait for all sessions at the end of a phase.
const reconnectTimeout = 2 * time.Minute

// runPhase runs one phase. It ends only when all sessions are open.
func (c *coordinator) runPhase(ctx context.Context, name string, edit bool) error {
	c.late.Reset()
	cpu, _ := c.usage()
	c.phase = &Phase{Name: name}
	c.before = maps.Clone(c.dates)
	began := time.Now()
	editing, stop := context.WithCancel(ctx)
	defer stop()
	edited := make(chan error, 1)
	edits, failed := 0, 0
	go func() {
		if !edit || c.settings.Edits == 0 {
			edited <- nil
			return
		}
		var err error
		edits, failed, err = c.edit(editing)
		edited <- err
	}()
	meanwhile := make(chan error, 1) // its result
	if do := c.settings.meanwhile; do != nil {
		go func() { meanwhile <- do() }()
	} else {
		meanwhile <- nil
	}
	if err := c.until(ctx, func() bool {
		lasted := time.Since(began)
		return len(meanwhile) > 0 && lasted >= c.settings.At &&
			(c.settings.Mode == "churn" || c.allConnected() || lasted > c.settings.At+reconnectTimeout)
	}); err != nil {
		return err
	}
	stop()
	err := cmpOr(<-edited, <-meanwhile)
	after, rss := c.usage()
	p := c.phase
	p.Edits, p.Failed = edits, failed
	p.Seconds, p.CPUSeconds, p.RSS = time.Since(began).Seconds(), after-cpu, rss
	p.measure(c.late)
	c.report.Phases = append(c.report.Phases, *p)
	return err
}

// patience is how many successive edits may fail in a deploy.
const patience = 100

// edit edits at the requested rate until ctx ends.
func (c *coordinator) edit(ctx context.Context) (done, failed int, err error) {
	inARow := 0
	every := time.NewTicker(time.Duration(float64(time.Second) / c.settings.Edits))
	defer every.Stop()
	for n := 0; ; n++ {
		select {
		case <-every.C:
		case <-ctx.Done():
			return done, failed, nil
		}
		at := 0
		if !c.settings.hot() {
			at = n % len(c.products)
		}
		switch err := c.shop.edit(ctx, &c.products[at]); {
		case err == nil:
			done++
			inARow = 0
		case ctx.Err() != nil:
			return done, failed, nil
		case c.settings.Mode != "deploy" || inARow == patience:
			return done, failed, err
		default: // the instance is being restarted
			failed++
			inARow++
		}
	}
}

// check compares all pages with the shop.
func (c *coordinator) check(ctx context.Context) error {
	ended := time.Now()
	if err := c.until(ctx, func() bool {
		return time.Since(ended) > settle && (c.allConnected() || time.Since(ended) > reconnectTimeout)
	}); err != nil {
		return err
	}
	found, err := c.shop.all(ctx, 50_000)
	if err != nil {
		return err
	}
	now := make(map[int64]int64, len(found))
	for _, p := range found {
		now[p.ID] = p.Version
	}
	if err := c.tellAll(order{Do: "check", Version: now}); err != nil {
		return err
	}
	if err := c.until(ctx, func() bool { return c.checked >= len(c.workers) }); err != nil {
		return err
	}
	_, c.report.RSSAfter = c.usage()
	if len(c.server) > 0 {
		c.report.PerSession = float64(c.report.RSSAfter-c.report.RSSBefore) / float64(c.settings.Browsers)
	}
	return nil
}

// usage returns the CPU seconds that the server has used and its resident memory in
// bytes, summed over its processes.
func (c *coordinator) usage() (cpu float64, rss int) {
	for _, p := range c.server {
		stat, err := p.Stat()
		if err != nil {
			c.report.Errors++
			c.report.LastError = err.Error()
			continue
		}
		cpu += stat.CPUTime()
		rss += stat.ResidentMemory()
	}
	return cpu, rss
}

// note adds a tick; whole: it is the last of its second.
func (c *coordinator) note(t tick, whole bool) {
	r := c.report
	r.Sessions += t.Sessions
	r.Opened += t.Opened
	r.Refused += t.Refused
	r.Lost += t.Lost
	r.Planned += t.Planned
	r.Errors += t.Errors
	r.Wrong += t.Wrong
	r.First += t.First
	c.phase.Deliveries += t.Deliveries
	c.phase.Opened += t.Opened
	if t.Error != "" {
		r.LastError = t.Error
	}
	if t.Cut != "" {
		r.LastCut = t.Cut
	}
	if t.Checked {
		c.checked++
	}
	for date, opened := range t.Dates {
		c.dates[date] += opened
		r.PeakRate = max(r.PeakRate, c.dates[date])
		c.phase.PeakRate = max(c.phase.PeakRate, c.dates[date]-c.before[date])
	}
	c.second.Opened += t.Opened
	c.second.Refused += t.Refused
	c.second.Deliveries += t.Deliveries
	if len(t.Late) > 0 {
		late, err := hdrhistogram.Decode(t.Late)
		if err != nil {
			r.Errors++
			r.LastError = err.Error()
		} else {
			c.late.Merge(late)
			r.all.Merge(late)
			c.lateNow.Merge(late)
		}
	}
	if !whole {
		return
	}
	cpu, rss := c.usage()
	p := Point{Second: time.Since(c.began).Seconds(), Sessions: r.Sessions, Opened: c.second.Opened,
		Refused: c.second.Refused, Deliveries: c.second.Deliveries, CPUSeconds: cpu, RSS: rss}
	if c.lateNow.TotalCount() > 0 {
		p.P50, p.P99 = ms(c.lateNow.ValueAtQuantile(50)), ms(c.lateNow.ValueAtQuantile(99))
		c.lateNow.Reset()
	}
	r.Timeline = append(r.Timeline, p)
	c.second = tick{}
	if c.watch != nil {
		c.watch()
	}
	if c.bar != nil {
		c.bar.Describe(fmt.Sprintf("%-8s %6d sessions  %5d new/s  %4d refused/s  %7d deliveries/s  "+
			"p50 %6.1f  p99 %6.1f ms  %4d MB",
			c.phase.Name, p.Sessions, p.Opened, p.Refused, p.Deliveries, p.P50, p.P99, p.RSS>>20))
		_ = c.bar.Add(1) // an error would only stop the animation
	}
}
