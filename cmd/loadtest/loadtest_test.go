package main

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"shelfcast/server"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		if err := work(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	testkit.Main(m, fleettest.Clean)
}

const token = fleettest.Token

// database returns the DSN of an empty shop.
func database(t testing.TB) (dsn string) {
	t.Helper()
	dsn = testkit.DSN(t)
	fleettest.DB(t, dsn)
	return dsn
}

// startFleet starts two instances, and returns the settings of a load test against them.
func startFleet(t *testing.T, change func(*server.Settings)) Settings {
	t.Helper()
	dsn := database(t)
	load := Settings{Token: token, Browsers: 60, Products: 5, Edits: 20, At: 1500 * time.Millisecond, Rate: 200, Procs: 2,
		Prepare: 12, Sources: []string{"127.0.0.2", "127.0.0.3"}, Pid: []int{os.Getpid()}, Quiet: true}
	redis := testkit.StartRedis(t)
	for range 2 {
		s := server.Settings{Database: server.Database{MySQL: dsn}, Redis: redis.URL(), RootToken: token,
			Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Drain: 400 * time.Millisecond}
		if change != nil {
			change(&s)
		}
		i, _ := fleettest.Run(t, s, server.Options{Log: slog.New(slog.DiscardHandler)})
		load.Live = append(load.Live, "ws://"+i.PublicAddr()+"/live")
		load.Admin = "http://" + i.AdminAddr()
	}
	return load
}

func TestModesReportWhatHappened(t *testing.T) {
	for _, mode := range []string{"idle", "fan-out", "spread", "churn", "slow"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := startFleet(t, nil)
			s.Mode, s.Slow = mode, 50
			r, err := perform(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if r.Wrong != 0 || r.Errors != 0 || r.Sessions != 60 || r.First < 60*5 || len(r.Timeline) == 0 {
				t.Errorf("%s", r.text())
			}
			for _, p := range r.Phases {
				if edits := p.Edits > 0; edits != (mode != "idle") {
					t.Errorf("%d edits", p.Edits)
				}
				// All watch the hot product; deliveries after the last second are not counted.
				if mode == "fan-out" && (p.Deliveries < 60*p.Edits*2/3 || p.P50 <= 0 || p.P99 < p.P50 || p.Max > 2000) {
					t.Errorf("%+v", p)
				}
			}
			if churned := r.Lost > 0; churned && mode != "churn" {
				t.Errorf("%d were cut off", r.Lost)
			}
			page, err := r.page()
			if err != nil || strings.Count(string(page), "<svg") != 5 || strings.Contains(string(page), "src=") {
				t.Errorf("%v: %.2000s", err, page)
			}
		})
	}
}

// All sessions are cut and reconnect at the rate that the instances accept, and then
// have what they missed.
func TestStormEndsWithCorrectPages(t *testing.T) {
	t.Parallel()
	s := startFleet(t, func(s *server.Settings) { s.JoinRate = 20 })
	s.Mode, s.Rate = "storm", 30
	r, err := perform(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if r.Wrong != 0 || r.Errors != 0 || r.BackSeconds == 0 || r.Lost != 60 || r.Opened != 120 {
		t.Errorf("%s", r.text())
	}
	if r.Refused == 0 {
		t.Error("no handshake was refused")
	}
}

func TestWrongPagesAreCounted(t *testing.T) {
	b := &browser{shown: map[int64]int64{1: 10, 2: 10}}
	if n := b.wrong(map[int64]int64{1: 10, 2: 11}); n != 1 {
		t.Errorf("%d", n)
	}
	if err := run(t.Context(), Settings{Browsers: -1}); err == nil {
		t.Error("a negative number of browsers is no error")
	}
}

// If no session can be opened, the load test gives up with an error.
func TestGivesUpIfNoSessionOpens(t *testing.T) {
	t.Parallel()
	s := startFleet(t, nil)
	s.Mode, s.patience = "idle", time.Second
	for n := range s.Live {
		s.Live[n] = strings.TrimSuffix(s.Live[n], "/live") + "/shop"
	}
	const says = "0 of 60 sessions are open, and no more can be opened: unexpected HTTP response status: 200"
	if err := run(t.Context(), s); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%v", err)
	}
}

func TestLiveURL(t *testing.T) {
	for address, want := range map[string]string{
		"ws://shop.example/live":       "ws://shop.example/live",
		"wss://shop.example/live?mode": "wss://shop.example/live?mode",
		"http://127.0.0.1:8000":        "ws://127.0.0.1:8000/live",
		"https://shop.example/":        "wss://shop.example/live",
		"127.0.0.1:8000":               "",
		"shop.example":                 "",
		"http://":                      "",
		"ftp://shop.example":           "",
	} {
		if got, err := liveURL(address); got != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v", address, got, err)
		}
	}
}
