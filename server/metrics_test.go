package server_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// A described metric is a row of docs/metrics.md.
type described struct {
	kind   string
	labels map[string][]string // with their values, if these are all
}

var (
	aName  = regexp.MustCompile("^`([a-z_]+)`:")
	quoted = regexp.MustCompile("`([^`]+)`")
)

// describedMetrics reads docs/metrics.md.
func describedMetrics(t *testing.T) map[string]described {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]described{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 2 || !strings.HasPrefix(line, "| `") {
			continue
		}
		if len(cells) != 7 {
			t.Fatalf("a row has %d columns: %s", len(cells)-2, line)
		}
		name := quoted.FindStringSubmatch(cells[1])[1]
		if _, twice := all[name]; twice {
			t.Errorf("%s has two rows", name)
		}
		d := described{strings.TrimSpace(cells[2]), map[string][]string{}}
		for _, label := range strings.Split(strings.TrimSpace(cells[3]), "; ") {
			name := aName.FindStringSubmatch(label)
			if name == nil {
				continue // continues the values of the label before
			}
			values := strings.TrimPrefix(label, name[0])
			d.labels[name[1]] = nil
			if strings.Trim(quoted.ReplaceAllString(values, ""), ", ") == "" {
				for _, v := range quoted.FindAllStringSubmatch(values, -1) {
					d.labels[name[1]] = append(d.labels[name[1]], v[1])
				}
			}
		}
		all[name] = d
	}
	if len(all) < 60 {
		t.Fatalf("only %d rows were found", len(all))
	}
	return all
}

// scrape returns the metrics of an instance.
func (f *fleet) scrape(t *testing.T, n int, accept string) map[string]*dto.MetricFamily {
	t.Helper()
	request, err := http.NewRequest("GET", "http://"+f.instances[n].AdminAddr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	families := map[string]*dto.MetricFamily{}
	from := expfmt.NewDecoder(response.Body, expfmt.ResponseFormat(response.Header))
	for {
		family := &dto.MetricFamily{}
		err := from.Decode(family)
		if err == io.EOF {
			return families
		}
		if err != nil {
			t.Fatal(err)
		}
		families[family.GetName()] = family
	}
}

const (
	asText     = "text/plain;version=0.0.4"
	asProtobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// everything starts a fleet with all optional parts, and uses all of them.
func everything(t *testing.T) *fleet {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"keys":[]}`)
	}))
	t.Cleanup(provider.Close)
	collector := startReceiver(t)
	dsn := testkit.DSN(t)
	f := startFleetOn(t, dsn, func(s *server.Settings) {
		s.Replica = dsn
		s.JWT = server.JWT{JWKS: provider.URL, Issuer: "https://id.example", Audience: "shelfcast"}
		s.Traces = server.Traces{Endpoint: collector.URL, Ratio: 1}
	})
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	for n := range f.instances {
		s := f.shopper(t, n, "")
		s.watch("card", lamp.Rev, mug.Rev, store.Rev{ID: 9999, Version: 1})
		s.next()
		lamp = f.edit(t, n, lamp.Rev, fmt.Sprintf(`{"stock":%d}`, 100+n))
		for s.next().Fragments == nil {
		}
		call(t, "GET", f.public(n, "/live/poll?watch="+inURL("detail", store.Rev{ID: mug.ID})), "", nil)
		call(t, "GET", f.public(n, "/shop"), "", nil)
		f.ask(t, n, 401, "GET", productPath(mug), "", bearer("no token"))
		f.ask(t, n, 401, "GET", productPath(mug), "", bearer("no.JWT.either"))
		f.ask(t, n, 200, "GET", "/api/v1/pages?ids="+itoa(lamp.ID), "", bearer(token))
		f.instances[n].Reload()
	}
	return f
}

func TestMetricsMatchDocs(t *testing.T) {
	t.Parallel()
	f := everything(t)
	table := describedMetrics(t)
	for n := range f.instances {
		text, binary := f.scrape(t, n, asText), f.scrape(t, n, asProtobuf)
		for name, family := range text {
			d, ok := table[name]
			if !ok {
				prefix := name[:strings.Index(name, "_")+1] + "*"
				if _, ok = table[prefix]; !ok || strings.HasPrefix(name, "go_sql_") {
					t.Errorf("%s is exposed and not in the table", name)
				}
				continue
			}
			kind, native, _ := strings.Cut(d.kind, ",")
			if got := strings.ToLower(family.GetType().String()); got != kind {
				t.Errorf("%s is a %s, and a %s in the table", name, got, d.kind)
			}
			for _, m := range family.Metric {
				d.check(t, name, m)
			}
			h := binary[name].GetMetric()[0].GetHistogram()
			exposed := h != nil && h.Schema != nil && (h.GetZeroThreshold() > 0 || len(h.PositiveSpan) > 0)
			if (native != "") != exposed {
				t.Errorf("%s is %q in the table, and exposed with the native buckets %v", name, d.kind, h)
			}
			if family.GetType() == dto.MetricType_HISTOGRAM && len(binary[name].Metric[0].Histogram.Bucket) < 5 {
				t.Errorf("%s has no classic buckets in protobuf", name)
			}
		}
		for name := range table {
			prefix, many := strings.CutSuffix(name, "*")
			begins := func(n string) bool { return strings.HasPrefix(n, prefix) }
			if text[name] == nil && !(many && slices.ContainsFunc(slices.Collect(maps.Keys(text)), begins)) {
				t.Errorf("%s is in the table and not exposed", name)
			}
		}
	}
}

// check compares the labels of a series with the table.
func (d described) check(t *testing.T, name string, m *dto.Metric) {
	t.Helper()
	var labels []string
	for _, l := range m.Label {
		labels = append(labels, l.GetName())
		if values := d.labels[l.GetName()]; values != nil && !slices.Contains(values, l.GetValue()) {
			t.Errorf("%s: %s is %q, which the table does not have", name, l.GetName(), l.GetValue())
		}
	}
	slices.Sort(labels)
	if want := slices.Sorted(maps.Keys(d.labels)); !slices.Equal(labels, want) {
		t.Errorf("%s has the labels %v, and %v in the table", name, labels, want)
	}
}

// Names follow the conventions of Prometheus.
func TestMetricNamesFollowConventions(t *testing.T) {
	t.Parallel()
	f := everything(t)
	problems, err := testutil.GatherAndLint(f.instances[0].Metrics())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Requests cannot create series: each would take memory here and in Prometheus.
func TestRequestsCannotCreateSeries(t *testing.T) {
	t.Parallel()
	f := everything(t)
	odd := func(n int) {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
			for _, path := range []string{"/nothing/%d", "/api/v1/nothing/%d", "/api/v1/products/%d", "/assets/%d", "/admin/%d",
				"/api/v1/products:%d"} {
				call(t, method, "http://"+f.instances[0].AdminAddr()+fmt.Sprintf(path, n), "", bearer(fmt.Sprint("token", n%3)))
				call(t, method, "http://"+f.instances[0].AdminAddr()+fmt.Sprintf(path, n), "", bearer(token))
			}
		}
		call(t, "GET", f.public(0, fmt.Sprintf("/fragments/view%d/%d", n, n)), "", nil)
		call(t, "GET", f.public(0, fmt.Sprintf("/live/poll?watch=%d:0:view%d", n, n)), "", nil)
	}
	series := func() (all []string) {
		for name, family := range f.scrape(t, 0, asText) {
			for _, m := range family.Metric {
				if !strings.HasPrefix(name, "go_") {
					all = append(all, fmt.Sprint(name, m.Label))
				}
			}
		}
		slices.Sort(all)
		return all
	}
	for n := range 4 {
		odd(1_000_000 + n)
	}
	series() // which is also a request
	before := series()
	for n := range 10 {
		odd(2_000_000 + n)
	}
	if after := series(); !slices.Equal(before, after) {
		t.Errorf("%d series have become %d: %v", len(before), len(after),
			slices.DeleteFunc(after, func(s string) bool { return slices.Contains(before, s) }))
	}
}

// The metrics that alerts use have the right values.
func TestMetricsCountWhatHappened(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.MaxSessions = 3 })
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	gauge := func(n int, name string, labels ...string) float64 {
		t.Helper()
		for _, m := range f.scrape(t, n, asText)[name].GetMetric() {
			is := func(l *dto.LabelPair) bool { return l.GetValue() == labels[0] }
			if len(labels) == 0 || slices.ContainsFunc(m.Label, is) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		t.Fatalf("there is no %s %v", name, labels)
		return 0
	}
	a, b := f.shopper(t, 0, ""), f.shopper(t, 1, "")
	a.watch("card", lamp.Rev, mug.Rev)
	b.watch("card", mug.Rev)
	a.settled()
	b.settled()
	f.edit(t, 0, mug.Rev, `{"stock":1}`)
	a.next()
	b.next()
	for name, want := range map[string][2]float64{
		"shelfcast_sessions": {1, 1}, "shelfcast_sessions_limit": {3, 3}, "shelfcast_watched_products": {2, 1},
		"shelfcast_draining": {0, 0}, "shelfcast_bus_published_total": {3, 0}, "shelfcast_build_info": {1, 1},
	} {
		for n := range f.instances {
			if got := gauge(n, name); got != want[n] {
				t.Errorf("%s of instance %d is %v, want %v", name, n, got, want[n])
			}
		}
	}
	testkit.Eventually(t, "the frames are counted", func() bool {
		return gauge(0, "shelfcast_deliveries_total") == 1 && gauge(1, "shelfcast_deliveries_total") == 1 &&
			gauge(1, "shelfcast_propagation_latency_seconds") == 1
	})
	for name, label := range map[string]string{
		"shelfcast_store_query_duration_seconds": "edit", "shelfcast_admin_requests_total": "/api/v1/products/{id}",
		"shelfcast_admin_request_duration_seconds": "/api/v1/products",
	} {
		if got := gauge(0, name, label); got < 1 {
			t.Errorf("%s{%s} is %v", name, label, got)
		}
	}
	const leases = "shelfcast_fragment_leases_total"
	if taken := gauge(0, leases, "acquired") + gauge(1, leases, "acquired"); taken != 1 {
		t.Errorf("%v leases were taken for one fragment", taken)
	}
	// Once a second.
	testkit.Eventually(t, "the feed has read", func() bool { return gauge(0, "shelfcast_feed_rows_total") > 0 })
	for state, least := range map[string]float64{"idle": 1, "subscribed": 1, "in_use": 0} {
		if got := gauge(1, "shelfcast_redis_connections", state); got < least {
			t.Errorf("%v connections to Redis are %s", got, state)
		}
	}
	// The third session is the last allowed one.
	f.shopper(t, 0, "").settled()
	f.shopper(t, 0, "").settled()
	refused := gauge(0, "shelfcast_sessions_refused_total", "full")
	if status, _, _ := call(t, "GET", f.public(0, "/live/sse?watch="+inURL("card", lamp.Rev)), "", nil); status != 503 {
		t.Errorf("the fourth has %d", status)
	}
	if got := gauge(0, "shelfcast_sessions_refused_total", "full"); got != refused+1 {
		t.Errorf("%v refusals are counted", got-refused)
	}
	f.redis.Kill()
	f.edit(t, 1, lamp.Rev, `{"stock":2}`)
	testkit.Eventually(t, "a Redis that is away is seen", func() bool {
		return gauge(1, "shelfcast_redis_errors_total") > 0 && gauge(1, "shelfcast_bus_publish_failures_total") == 1 &&
			gauge(1, "shelfcast_bus_probe_age_seconds") > 1
	})
}
