package main

import (
	"fmt"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Report is what a run found. Times are in milliseconds, from a product's
// version to the frame in the browser; sizes in bytes.
type Report struct {
	Mode          string  `json:"mode"`
	Browsers      int     `json:"browsers"`
	Products      int     `json:"products_each"`
	GatherSeconds float64 `json:"gather_seconds"`
	Sessions      int     `json:"sessions"` // at the end
	Opened        int     `json:"opened"`
	PeakRate      int     `json:"peak_opened_per_second"`
	Refused       int     `json:"refused"`            // handshakes, with 503
	Lost          int     `json:"lost"`               // sessions cut off, or closed by the server
	Planned       int     `json:"closed_as_planned"`  // of these, closed with 1012 by an instance that ends
	LastCut       string  `json:"last_cut,omitempty"` // how the last of the others ended
	Errors        int     `json:"errors"`
	LastError     string  `json:"last_error,omitempty"`
	First         int     `json:"first_deliveries"`             // of what a page had not shown before
	Wrong         int     `json:"wrong"`                        // products on pages that are not as in the shop at the end
	BackSeconds   float64 `json:"back_after_seconds,omitempty"` // in a storm: until the last session was back; 0 if not all were
	RSSBefore     int     `json:"rss_before,omitempty"`
	RSSAfter      int     `json:"rss_after,omitempty"`
	PerSession    float64 `json:"rss_per_session,omitempty"`
	Phases        []Phase `json:"phases"`
	Timeline      []Point `json:"timeline"`

	all *hdrhistogram.Histogram // µs
}

// A Phase is a part of a run.
type Phase struct {
	Name       string  `json:"name"`
	Seconds    float64 `json:"seconds"`
	Edits      int     `json:"edits"`
	Failed     int     `json:"edits_failed"`           // in a deploy, and tried again
	Opened     int     `json:"opened"`                 // sessions
	PeakRate   int     `json:"peak_opened_per_second"` // sessions, by the server's clock
	Deliveries int     `json:"deliveries"`
	P50        float64 `json:"p50_ms"`
	P90        float64 `json:"p90_ms"`
	P99        float64 `json:"p99_ms"`
	P999       float64 `json:"p999_ms"`
	Max        float64 `json:"max_ms"`
	CPUSeconds float64 `json:"cpu_seconds,omitempty"` // of the server
	RSS        int     `json:"rss,omitempty"`         // at its end
}

// A Point is a second of a run.
type Point struct {
	Second     float64 `json:"second"`
	Sessions   int     `json:"sessions"`
	Opened     int     `json:"opened"`
	Refused    int     `json:"refused"`
	Deliveries int     `json:"deliveries"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	CPUSeconds float64 `json:"cpu_seconds,omitempty"` // since the server's start
	RSS        int     `json:"rss,omitempty"`
}

func ms(µs int64) float64 { return float64(µs) / 1000 }

func (p *Phase) measure(late *hdrhistogram.Histogram) {
	p.P50, p.P90 = ms(late.ValueAtQuantile(50)), ms(late.ValueAtQuantile(90))
	p.P99, p.P999 = ms(late.ValueAtQuantile(99)), ms(late.ValueAtQuantile(99.9))
	p.Max = ms(late.Max())
}

// text returns the report for a terminal.
func (r *Report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d browsers, %d products each, there after %.1f s\n",
		r.Mode, r.Browsers, r.Products, r.GatherSeconds)
	fmt.Fprintf(&b, "sessions: %d at the end, %d opened, at most %d in a second; "+
		"%d handshakes refused (503), %d sessions ended (%d as planned)\n",
		r.Sessions, r.Opened, r.PeakRate, r.Refused, r.Lost, r.Planned)
	if r.Mode == "storm" {
		if r.BackSeconds > 0 {
			fmt.Fprintf(&b, "all were back %.1f s after the cut\n", r.BackSeconds)
		} else {
			fmt.Fprintf(&b, "NOT all came back\n")
		}
	}
	for _, p := range r.Phases {
		fmt.Fprintf(&b, "%s, %.0f s: %d edits, %d deliveries (%.0f/s)",
			p.Name, p.Seconds, p.Edits, p.Deliveries, float64(p.Deliveries)/p.Seconds)
		if p.Failed > 0 {
			fmt.Fprintf(&b, "; %d edits failed and were tried again", p.Failed)
		}
		if p.Opened > 0 {
			fmt.Fprintf(&b, "; %d sessions opened, at most %d in a second", p.Opened, p.PeakRate)
		}
		if p.Deliveries > 0 {
			fmt.Fprintf(&b, "; edit to frame, ms: p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, max %.1f",
				p.P50, p.P90, p.P99, p.P999, p.Max)
		}
		if p.RSS > 0 {
			fmt.Fprintf(&b, "; server: %.2f s of CPU", p.CPUSeconds)
			if p.Deliveries > 0 {
				fmt.Fprintf(&b, " (%.1f µs a delivery)", p.CPUSeconds*1e6/float64(p.Deliveries))
			}
			fmt.Fprintf(&b, ", %.1f MB, %.2f KB a session", float64(p.RSS)/1e6,
				float64(p.RSS-r.RSSBefore)/1024/float64(r.Browsers))
		}
		b.WriteByte('\n')
	}
	if r.LastCut != "" {
		fmt.Fprintf(&b, "of the sessions that ended otherwise, the last: %s\n", r.LastCut)
	}
	fmt.Fprintf(&b, "products shown wrongly at the end: %d; errors: %d", r.Wrong, r.Errors)
	if r.LastError != "" {
		fmt.Fprintf(&b, ", the last: %s", r.LastError)
	}
	b.WriteByte('\n')
	return b.String()
}
