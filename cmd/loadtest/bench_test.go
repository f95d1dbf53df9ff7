package main

import (
	"fmt"
	"testing"
	"time"

	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// BenchmarkLoad runs each mode against a process of its own, at the size that
// the README quotes. Run it with -benchtime 1x.
func BenchmarkLoad(b *testing.B) {
	program := fleettest.Build(b)
	for _, s := range []Settings{
		{Mode: "idle", Browsers: 15_000, At: 30 * time.Second},
		{Mode: "fan-out", Browsers: 15_000, Edits: 2, At: 20 * time.Second},
		{Mode: "fan-out", Browsers: 5_000, Edits: 10, At: 20 * time.Second},
		{Mode: "spread", Browsers: 15_000, Edits: 200, At: 20 * time.Second},
		{Mode: "storm", Browsers: 10_000, Edits: 5, At: 30 * time.Second},
		{Mode: "slow", Browsers: 5_000, Edits: 10, Slow: 10, At: 20 * time.Second},
	} {
		b.Run(fmt.Sprintf("mode=%s/browsers=%d", s.Mode, s.Browsers), func(b *testing.B) {
			for b.Loop() {
				s.Products, s.Rate, s.Procs, s.Prepare, s.Token, s.Quiet = 20, 800, 1, 500, token, true
				serveProcess(b, program, &s)
				r, err := perform(b.Context(), s)
				if err != nil {
					b.Fatal(err)
				}
				b.Log("\n" + r.text())
				if r.Wrong > 0 || r.Errors > 0 {
					b.Error("pages are wrong, or something failed")
				}
				first, last := r.Phases[0], r.Phases[len(r.Phases)-1]
				b.ReportMetric(float64(last.RSS-r.RSSBefore)/1024/float64(s.Browsers), "KB/session")
				if last.Deliveries > 0 {
					b.ReportMetric(last.CPUSeconds*1e6/float64(last.Deliveries), "µs-CPU/delivery")
					b.ReportMetric(last.P50, "ms-p50")
					b.ReportMetric(last.P99, "ms-p99")
				}
				switch s.Mode {
				case "storm":
					b.ReportMetric(r.BackSeconds, "s-back")
					b.ReportMetric(float64(r.PeakRate), "peak-new/s")
				case "slow":
					b.ReportMetric(last.P99/first.P99, "p99-of-before")
				}
			}
		})
	}
}

// serveProcess starts an instance in a process of its own, until the end of the
// benchmark.
func serveProcess(b *testing.B, program string, s *Settings) {
	b.Helper()
	i := fleettest.Start(b, program, "SHELFCAST_MYSQL="+database(b), "SHELFCAST_REDIS="+testkit.StartRedis(b).URL(),
		"SHELFCAST_DRAIN_TIME=1s", "SHELFCAST_MAX_SESSIONS_PER_ADDRESS=0")
	s.Live, s.Admin, s.Pid = []string{"ws://" + i.Public + "/live"}, "http://"+i.Admin, []int{i.Pid()}
}
