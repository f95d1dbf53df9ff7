package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"shelfcast/store/storetest"
)

// BenchmarkCrowd runs each mode against a process of its own, at the size that
// the README quotes. Run it with -benchtime 1x.
func BenchmarkCrowd(b *testing.B) {
	program := filepath.Join(b.TempDir(), "shelfcast")
	if out, err := exec.Command("go", "build", "-o", program, "shelfcast/cmd/shelfcast").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
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
	public, admin := storetest.FreePort(b), storetest.FreePort(b)
	dsn := storetest.DSN(b)
	env := append(os.Environ(), "SHELFCAST_MYSQL="+dsn, "SHELFCAST_REDIS="+storetest.StartRedis(b).URL(), "SHELFCAST_ADMIN_TOKEN="+token,
		fmt.Sprintf("SHELFCAST_LISTEN=127.0.0.1:%d", public), fmt.Sprintf("SHELFCAST_ADMIN_LISTEN=127.0.0.1:%d", admin), "SHELFCAST_DRAIN=1s", "SHELFCAST_MAX_SESSIONS_PER_ADDRESS=0")
	migrate := exec.Command(program, "migrate")
	migrate.Env = env
	if out, err := migrate.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(program, "serve")
	cmd.Env, cmd.SysProcAttr = env, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
	})
	s.Live, s.Admin, s.Pid = []string{fmt.Sprintf("ws://127.0.0.1:%d/live", public)}, fmt.Sprintf("http://127.0.0.1:%d", admin), []int{cmd.Process.Pid}
	storetest.Eventually(b, "the instance is ready", func() bool {
		answer, err := http.Get(s.Admin + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}
