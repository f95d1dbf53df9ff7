package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"shelfcast/store"
)

// BenchmarkEditToFrame measures the time from the answer to a PATCH on one instance to
// the frame in a session on the other. It is negative if the frame arrives first, as
// the answer is sent after publishing. Run it with -benchtime 1000x.
func BenchmarkEditToFrame(b *testing.B) {
	f := startFleet(b, nil)
	lamp := f.product(b, "lamp")
	s := f.shopper(b, 1, "")
	s.watch("card", lamp.Rev)
	s.settled()
	var afterStart, afterAnswer []time.Duration
	arrived := make(chan time.Time)
	seen := lamp.Rev
	for n := 0; b.Loop(); n++ {
		go func() { s.next(); arrived <- time.Now() }()
		start := time.Now()
		seen = f.edit(b, 0, seen, fmt.Sprintf(`{"stock":%d}`, n%2+1)).Rev
		answer := time.Now()
		frame := <-arrived
		afterStart = append(afterStart, frame.Sub(start))
		afterAnswer = append(afterAnswer, frame.Sub(answer))
	}
	report(b, "request", afterStart)
	report(b, "answer", afterAnswer)
}

// BenchmarkEditToPage measures the same up to the element in a page of Chromium, and
// up to the end of the animation frame in which it is painted.
func BenchmarkEditToPage(b *testing.B) {
	f := startFleet(b, nil)
	lamp := f.product(b, "lamp")
	page := tab(b, browser(b), f.public(1, "/shop"))
	run(b, page, chromedp.Evaluate[chromedp.Void](`
		window.updates = {};
		const now = () => performance.timeOrigin + performance.now();
		document.addEventListener("shelfcast:updated", (e) => {
			const applied = now(), painted = new MessageChannel();
			painted.port1.onmessage = () => { updates[e.detail.version] = [applied, now()] };
			requestAnimationFrame(() => painted.port2.postMessage(0)); // a message posted before a frame arrives after it
		})`))
	started, answered := map[int64]time.Time{}, map[int64]time.Time{}
	seen := lamp.Rev
	for n := 0; b.Loop(); n++ {
		start := time.Now()
		seen = f.edit(b, 0, seen, fmt.Sprintf(`{"stock":%d}`, n%2+1)).Rev
		started[seen.Version], answered[seen.Version] = start, time.Now()
		until(b, page, fmt.Sprintf(`updates[%d] !== undefined`, seen.Version))
	}
	var afterStart, afterAnswer, painted []time.Duration
	for version, at := range eval[map[int64][2]float64](b, page, `updates`) {
		applied, drawn := time.UnixMicro(int64(at[0]*1000)), time.UnixMicro(int64(at[1]*1000))
		afterStart = append(afterStart, applied.Sub(started[version]))
		afterAnswer = append(afterAnswer, applied.Sub(answered[version]))
		painted = append(painted, drawn.Sub(answered[version]))
	}
	report(b, "request", afterStart)
	report(b, "answer", afterAnswer)
	report(b, "answer-to-paint", painted)
}

func report(b *testing.B, since string, all []time.Duration) {
	slices.Sort(all)
	at := func(share float64) float64 {
		return float64(all[int(share*float64(len(all)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.50), "ms-p50-after-"+since)
	b.ReportMetric(at(0.99), "ms-p99-after-"+since)
}

// BenchmarkBatchToFrame makes 1,000 edits in one call, 24 of them of products that a
// page on the other instance watches. It measures the call, and the time from its
// start to the frame, which has all 24.
func BenchmarkBatchToFrame(b *testing.B) {
	f := startFleet(b, nil)
	edits := make([]string, 1000)
	for i := range edits {
		edits[i] = fmt.Sprintf(`{"action":"create","set":{"sku":"p%d","title":"Product %d","price":"19.90",`+
			`"currency":"EUR","published":true,"description":"<p>Of some length, as descriptions are.</p>"}}`, i, i)
	}
	batch := func() []store.Rev {
		status, _, answer := f.admin(b, 0, "POST", "/api/v1/products:batch",
			`{"all_or_nothing":true,"edits":[`+strings.Join(edits, ",")+`]}`, nil)
		if status != http.StatusOK {
			b.Fatal(status, answer)
		}
		return parse[struct{ Results []store.Rev }](b, answer).Results
	}
	revs := batch()
	s := f.shopper(b, 1, "")
	s.watch("card", revs[:24]...)
	s.settled()
	arrived := make(chan time.Time)
	var answers, frames []time.Duration
	for n := 0; b.Loop(); n++ {
		for i, r := range revs {
			edits[i] = fmt.Sprintf(`{"id":%d,"version":%d,"set":{"stock":%d}}`, r.ID, r.Version, n+1) // a new value each time
		}
		go func() {
			if got := s.next().Fragments; len(got) != 24 {
				b.Errorf("a frame of %d", len(got))
			}
			arrived <- time.Now()
		}()
		start := time.Now()
		revs = batch()
		answers = append(answers, time.Since(start))
		frames = append(frames, (<-arrived).Sub(start))
	}
	report(b, "call", answers)
	report(b, "frame", frames)
}
