package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"shelfcast/server"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// chartFiles is the folder of the rules and the dashboard that the chart installs.
const chartFiles = "../charts/shelfcast/files/"

// A prometheus is a Prometheus server that scrapes a fleet every second.
type prometheus struct {
	t       testing.TB
	address string
}

// prometheusOf starts Prometheus with the chart's rules and these flags.
func (f *fleet) prometheusOf(t testing.TB, flags ...string) *prometheus {
	t.Helper()
	rules, err := filepath.Abs(chartFiles + "rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"+
		"rule_files: [%q]\n", rules) +
		"scrape_configs:\n  - job_name: shelfcast\n    static_configs:\n"
	for n, i := range f.instances {
		text += fmt.Sprintf("      - {targets: [%q], labels: {namespace: shop, pod: shelfcast-%d}}\n", i.AdminAddr(), n)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheus{t, testkit.FreeAddr(t)}
	flags = append([]string{testkit.Program(t, "prometheus", "prometheus"), "--config.file=" + file, "--log.level=warn",
		"--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + p.address}, flags...)
	testkit.StartServer(t, fleettest.Answers("http://"+p.address+"/-/ready"), nil, flags...)
	return p
}

// ask returns the data of an answer of the API, and fails the test on an invalid
// query.
func ask[T any](p *prometheus, path string, query url.Values) T {
	p.t.Helper()
	_, _, text := call(p.t, "GET", "http://"+p.address+"/api/v1/"+path+"?"+query.Encode(), "", nil)
	answer := parse[struct {
		Status, Error string
		Data          json.RawMessage
	}](p.t, text)
	if answer.Status != "success" {
		p.t.Errorf("%s: %s", query.Get("query"), answer.Error)
		answer.Data = []byte("null")
	}
	return parse[T](p.t, string(answer.Data))
}

// values returns the current values of a query, without NaN.
func (p *prometheus) values(query string) (values []float64) {
	p.t.Helper()
	found := ask[struct{ Result []struct{ Value [2]any } }](p, "query", url.Values{"query": {query}})
	for _, series := range found.Result {
		text, _ := series.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return values
}

// one returns the only value of a query; NaN if it has none.
func (p *prometheus) one(query string) float64 {
	p.t.Helper()
	if all := p.values(query); len(all) == 1 {
		return all[0]
	}
	return math.NaN()
}

// A rule is a rule as the API of Prometheus reports it.
type rule struct {
	Name, Query, Type, Health, LastError string
	Alerts                               []struct{ State string }
}

func (p *prometheus) rules() (all []rule) {
	p.t.Helper()
	for _, group := range ask[struct{ Groups []struct{ Rules []rule } }](p, "rules", nil).Groups {
		all = append(all, group.Rules...)
	}
	return all
}

// raised returns the firing and pending alerts.
func (p *prometheus) raised() (names []string) {
	p.t.Helper()
	for _, r := range p.rules() {
		if len(r.Alerts) > 0 {
			names = append(names, r.Name)
		}
	}
	return names
}

// queriesOf returns the queries of each panel of the dashboard, with all variables set
// to All.
func queriesOf(t testing.TB) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(chartFiles + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	type panel struct {
		Title   string
		Targets []struct{ Expr string }
	}
	board := parse[struct {
		Panels []struct {
			panel
			Panels []panel
		}
		Annotations struct{ List []struct{ Name, Expr string } }
	}](t, string(text))
	selected := strings.NewReplacer("$__rate_interval", "30s", "$namespace", "shop", "$job", "shelfcast",
		"$instance", ".*")
	all := map[string][]string{}
	add := func(p panel) {
		for _, target := range p.Targets {
			all[p.Title] = append(all[p.Title], selected.Replace(target.Expr))
		}
	}
	for _, p := range board.Panels {
		add(p.panel)
		for _, folded := range p.Panels {
			add(folded)
		}
	}
	for _, a := range board.Annotations.List {
		if a.Expr != "" {
			// The process runs all tests, and has not just started.
			all["annotation "+a.Name] = []string{strings.TrimSuffix(selected.Replace(a.Expr), " < 60")}
		}
	}
	if len(all) < 60 {
		t.Fatalf("only %d panels", len(all))
	}
	return all
}

// bustle makes traffic for all metrics on both instances, until the test ends or stop
// is called.
func (f *fleet) bustle(t *testing.T) (stop func()) {
	t.Helper()
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	var pages []*shopper
	for n := range 4 {
		s := f.shopper(t, n%2, "")
		s.watch("card", lamp.Rev, mug.Rev)
		s.settled()
		pages = append(pages, s)
	}
	once := func(round int) {
		lamp = f.edit(t, round%2, lamp.Rev, fmt.Sprintf(`{"stock":%d}`, round))
		mug = f.edit(t, (round+1)%2, mug.Rev, fmt.Sprintf(`{"stock":%d}`, round))
		for _, s := range pages {
			for seen := 0; seen < 2; {
				for _, got := range s.next().Fragments {
					seen++
					s.say(fmt.Sprintf(`{"applied":[{"id":%d,"version":%d}]}`, got.ID, got.Version))
				}
			}
		}
		for n := range f.instances {
			for _, path := range []string{fmt.Sprintf("/fragments/detail/%d", lamp.ID),
				fmt.Sprintf("/live/poll?watch=%d:1:card", mug.ID), "/shop"} {
				call(t, "GET", f.public(n, path), "", nil)
			}
			for _, path := range []string{"/api/v1/products?limit=2", fmt.Sprintf("/api/v1/pages?ids=%d", lamp.ID)} {
				f.admin(t, n, "GET", path, "", nil)
			}
			call(t, "GET", "http://"+f.instances[n].AdminAddr()+"/api/v1/products", "",
				http.Header{"Authorization": {"Bearer none of ours"}})
			broken := f.shopper(t, n, "")
			broken.say("{")
			broken.closed()
		}
	}
	once(1) // fails in the test's goroutine
	var g sync.WaitGroup
	done := make(chan struct{})
	g.Go(func() {
		for round := 2; ; round++ {
			select {
			case <-done:
				return
			case <-time.After(250 * time.Millisecond):
				once(round)
			}
		}
	})
	stop = sync.OnceFunc(func() { close(done); g.Wait() })
	t.Cleanup(stop)
	return stop
}

// silent are the panels that may be empty, as their events have not happened.
var silent = map[string]string{
	"JWTs":                      "there is no identity provider",
	"Trace spans":               "there is no collector",
	"Watcher counts":            "nothing was dropped",
	"MySQL errors":              "nothing was refused",
	"Query errors":              "MySQL answers",
	"Replica reads":             "there is none",
	"Firing and pending alerts": "none does",
	"annotation Alerts":         "none fires",
}

// unset are the alerts that have no data without their events.
var unset = map[string]string{
	"ShelfcastAllInstancesDown":        "there are instances",
	"ShelfcastReplicaIneffective":      "there is no replica",
	"ShelfcastIdentityKeysUnavailable": "there is no identity provider",
	"ShelfcastAdminErrors":             "no call has failed",
}

// A Prometheus that scrapes two instances, with classic and native histograms, runs
// all queries of the dashboard and all rules: each has data, and no alert is raised
// while nothing is wrong. When Redis and MySQL are stopped, exactly their alerts are
// raised.
func TestAlertsOnRealFleet(t *testing.T) {
	mysqld := testkit.StartMySQL(t)
	f := startFleetOn(t, mysqld.Database(t), func(s *server.Settings) { s.JoinRate = 1000 })
	watchers := map[string]*prometheus{"buckets": f.prometheusOf(t),
		"native": f.prometheusOf(t, "--enable-feature=native-histograms")}
	stop := f.bustle(t)
	for _, i := range f.instances {
		if err := i.Reload(); err != nil {
			t.Error(err)
		}
	}
	for name, p := range watchers {
		t.Run(name, func(t *testing.T) {
			p := &prometheus{t, p.address}
			testkit.Eventually(t, "there are samples, and nothing is wrong", func() bool {
				return p.one(`min(count_over_time(shelfcast:late_versions:ratio3d[1m]))`) > 5 && len(p.raised()) == 0
			})
			p.sees(t)
			if got := len(p.values("shelfcast_propagation_latency_seconds_bucket")) > 0; got != (name == "buckets") {
				t.Errorf("there are buckets: %v", got)
			}
		})
	}
	stop()
	f.redis.Kill()
	mysqld.Kill()
	for name, p := range watchers {
		testkit.Eventually(t, name+": Prometheus is told that nothing comes, and what fails", func() bool {
			f.admin(t, 0, "GET", "/api/v1/products?limit=2", "", nil)
			raised := p.raised()
			return slices.Contains(raised, "ShelfcastNoUpdates") && slices.Contains(raised, "ShelfcastBusDown") &&
				slices.Contains(raised, "ShelfcastAdminErrors") &&
				p.one(`sum(rate(shelfcast_store_errors_total[30s]))`) > 0 &&
				p.one(`sum(rate(shelfcast_redis_errors_total[30s]))`) > 0
		})
		for _, query := range queriesOf(t)["Query errors"] {
			if len(p.values(query)) == 0 {
				t.Errorf("%s: nothing for %s", name, query)
			}
		}
	}
}

// sees checks that Prometheus has data for each rule and panel.
func (p *prometheus) sees(t *testing.T) {
	t.Helper()
	limit := regexp.MustCompile(`([<>]=?|==) *[0-9.]+`)
	for _, r := range p.rules() {
		if r.Health != "ok" {
			t.Errorf("%s: %s", r.Name, r.LastError)
		}
		query := r.Name
		if r.Type == "alerting" { // with the threshold removed, it must find its series
			query = limit.ReplaceAllString(r.Query, ">= -1")
		}
		if got := len(p.values(query)) > 0; got != (unset[r.Name] == "") {
			t.Errorf("%s has data: %v, of %s", r.Name, got, query)
		}
	}
	panels := queriesOf(t)
	for _, title := range slices.Sorted(maps.Keys(panels)) {
		for _, query := range panels[title] {
			if len(p.values(query)) == 0 && silent[title] == "" {
				t.Errorf("%s shows nothing of %s", title, query)
			}
		}
	}
	for _, title := range []string{"Edits", "Deliveries", "Bytes to sessions", "Joins", "Time to fresh",
		"Time until pages show it", "Queries", "Time of a Redis command", "CPU"} {
		for _, query := range panels[title] {
			if !slices.ContainsFunc(p.values(query), func(v float64) bool { return v > 0 }) {
				t.Errorf("%s stands still: %s", title, query)
			}
		}
	}
	if got := p.one("count(shelfcast_build_info)"); got != 2 {
		t.Errorf("%v instances are seen", got)
	}
}
