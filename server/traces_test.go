package server_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
)

func parentOf(trace string, sampled string) http.Header {
	return http.Header{"Traceparent": {"00-" + trace + "-" + callersSpan + "-" + sampled}}
}

// tracedFleet starts a fleet whose spans arrive when it is stopped, or after a moment.
func tracedFleet(t *testing.T, endpoint string, ratio float64, log *bytes.Buffer) *fleet {
	t.Helper()
	options := server.Options{Log: slog.New(slog.DiscardHandler)}
	if log != nil {
		options.Log = slog.New(slog.NewTextHandler(&lockedWriter{to: log}, nil))
	}
	return startFleetWith(t, testkit.DSN(t), options, func(s *server.Settings) {
		s.Traces = server.Traces{Endpoint: endpoint, Ratio: ratio}
	})
}

type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}

// An edit is one trace, from the caller's span over the request, the UPDATE and the
// publishing on one instance, to the frames on both.
func TestEditIsOneTrace(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	f := tracedFleet(t, r.URL, 0, nil) // only if the caller samples
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	pages := []*shopper{f.shopper(t, 0, ""), f.shopper(t, 1, "")}
	for _, page := range pages {
		page.watch("card", lamp.Rev, mug.Rev)
		page.settled()
	}
	headers := parentOf(callersTrace, "01")
	headers.Set("If-Match", etag(lamp.Rev))
	status, _, answer := f.admin(t, 0, "PATCH", productPath(lamp), `{"price":"17.50"}`, headers)
	if status != http.StatusOK {
		t.Fatal(status, answer)
	}
	for _, page := range pages {
		if got := page.next().Fragments; len(got) != 1 || got[0].ID != lamp.ID {
			t.Fatalf("got %v", got)
		}
	}
	f.edit(t, 0, mug.Rev, `{"price":"7.50"}`) // not traced
	for _, stop := range f.stop {
		stop() // exports the rest
	}
	spans := r.of(callersTrace)
	requests := named(spans, "PATCH /api/v1/products/{id}")
	if len(requests) != 1 || requests[0].parent != callersSpan ||
		requests[0].attributes["http.response.status_code"] != "200" {
		t.Fatalf("requests %+v of %+v", requests, spans)
	}
	request := requests[0]
	publish := below(spans, request, "publish")
	if len(below(spans, request, "store edit")) != 1 || len(below(spans, request, "UPDATE products")) != 1 ||
		len(publish) != 1 {
		t.Fatalf("below the request %+v", spans)
	}
	tiers := map[string]int{}
	for _, s := range named(spans, "fragment") {
		tiers[s.attributes["shelfcast.tier"]]++
		if len(below(spans, publish[0], "fragment")) != 2 || s.attributes["shelfcast.view"] != "card" {
			t.Errorf("%+v", s)
		}
	}
	// One of the two instances renders; the other reads from Redis, or waits for it.
	if len(named(spans, "render")) != 1 || tiers["database"] != 1 || tiers["redis"] != 1 {
		t.Errorf("rendered %d times; tiers %v", len(named(spans, "render")), tiers)
	}
	instances := map[string]bool{}
	for _, name := range []string{"fragment", "flush", "write frames"} {
		on := map[string]bool{}
		for _, s := range below(spans, publish[0], name) {
			on[s.instance], instances[s.instance] = true, true
			if name == "write frames" && (s.attributes["shelfcast.deliveries"] != "1" ||
				s.attributes["shelfcast.sessions"] != "1") {
				t.Errorf("%+v", s)
			}
		}
		if len(on) != 2 {
			t.Errorf("%s: on %d instances", name, len(on))
		}
	}
	for _, s := range below(spans, publish[0], "receive") {
		if s.instance == request.instance && len(below(spans, s, "fragment")) > 0 {
			t.Error("the instance that has published learns of its edit from Redis")
		}
	}
	if len(instances) != 2 || !instances[request.instance] {
		t.Errorf("on %d instances", len(instances))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spans) != len(spans) {
		t.Errorf("%d spans of other traces came", len(r.spans)-len(spans))
	}
}

// A batch is one trace with a bounded number of spans.
func TestBatchTraceIsBounded(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	f := tracedFleet(t, r.URL+"/", 0, nil)
	page := f.shopper(t, 1, "")
	var all []store.Rev
	var edits []string
	for n := range 60 {
		p := f.product(t, "p"+itoa(int64(n)))
		all = append(all, p.Rev)
		edit := strings.NewReplacer("ID", itoa(p.ID), "VERSION", itoa(p.Version))
		edits = append(edits, edit.Replace(`{"id":ID,"version":VERSION,"set":{"stock":1}}`))
	}
	page.watch("card", all...)
	page.settled()
	batch := `{"edits":[` + strings.Join(edits, ",") + `]}`
	status, _, answer := f.admin(t, 0, "POST", "/api/v1/products:batch", batch, parentOf(callersTrace, "01"))
	if status != http.StatusOK {
		t.Fatal(status, answer)
	}
	for got := 0; got < len(all); {
		got += len(page.next().Fragments)
	}
	for _, stop := range f.stop {
		stop()
	}
	spans := r.of(callersTrace)
	if n := len(named(spans, "fragment")); n != 20 {
		t.Errorf("%d fragments have spans", n)
	}
	if len(named(spans, "POST /api/v1/products:batch")) != 1 || len(named(spans, "store batch")) != 1 ||
		len(named(spans, "publish")) != 1 || len(named(spans, "receive")) != 2 {
		t.Errorf("got %+v", spans)
	}
}

// A problem contains the trace id, sampled or not, and so does the log of the error.
func TestProblemsAndLogsHaveTraceID(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	var log bytes.Buffer
	f := tracedFleet(t, r.URL, 0, &log)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	const other = "0af7651916cd43dd8448eb211c80319c"
	for _, c := range []struct {
		method, path, body, match string
		status                    int
	}{
		{"PATCH", productPath(lamp), `{"price":"1"}`, etag(mug.Rev), 412},      // of the store
		{"PATCH", productPath(lamp), `{"price":"1"}`, "", 428},                 // of the handler
		{"PATCH", productPath(lamp), `{"colour":1}`, etag(lamp.Rev), 422},      // of Huma
		{"GET", "/api/v1/nothing", "", "", 404},                                // of Fiber
		{"PATCH", productPath(lamp), strings.Repeat("x", 2<<20), "", 413},      // of the body's limit
		{"GET", "/api/v1/products?cursor=nonsense", "", "", 400},               // of a query
		{"GET", "/api/v1/products?nonsense=1", "", "", 422},                    // of a query that there is not
		{"POST", "/api/v1/products:refresh", `{"ids":[]}`, "", 422},            // of a bulk call
		{"POST", productPath(mug) + "/archive", "", etag(lamp.Rev), 412},       // of another product
		{"GET", "/api/v1/products/" + itoa(mug.ID+1_000_000), "", "", 404},     // of a product that there is not
		{"GET", "/api/v1/products/" + itoa(lamp.ID) + "/nothing", "", "", 404}, // of a route that there is not
	} {
		for trace, sampled := range map[string]string{callersTrace: "01", other: "00"} {
			headers := parentOf(trace, sampled)
			headers.Set("Authorization", "Bearer "+token)
			if c.match != "" {
				headers.Set("If-Match", c.match)
			}
			status, got, answer := call(t, c.method, "http://"+f.instances[0].AdminAddr()+c.path, c.body, headers)
			if status != c.status || !strings.Contains(answer, `"instance":"urn:shelfcast:trace:`+trace+`"`) ||
				got.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s: %d %s", c.method, c.path, status, answer)
			}
		}
	}
	// Without a traceparent the trace is new, and the problem names it.
	_, _, answer := call(t, "GET", "http://"+f.instances[0].AdminAddr()+"/api/v1/products", "", nil)
	if !strings.Contains(answer, `"instance":"urn:shelfcast:trace:`) || strings.Contains(answer, callersTrace) {
		t.Error(answer)
	}
	// A failed publish is logged with its trace.
	f.redis.Kill()
	headers := parentOf(other, "00")
	headers.Set("If-Match", etag(lamp.Rev))
	if status, _, answer := f.admin(t, 0, "PATCH", productPath(lamp), `{"price":"3"}`, headers); status != 200 {
		t.Fatal(status, answer)
	}
	for _, stop := range f.stop {
		stop()
	}
	found := false
	for line := range strings.Lines(log.String()) {
		found = found || strings.Contains(line, `msg="publishing to the bus failed`) &&
			strings.Contains(line, "trace_id="+other)
	}
	if !found {
		t.Errorf("the log does not name the trace:\n%s", log.String())
	}
	if len(r.of(other)) > 0 {
		t.Error("a trace that its caller does not sample was sent")
	}
}

// Without an endpoint nothing is traced, whatever callers request, and published
// messages are unchanged.
func TestNoEndpointNoTraces(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	messages := f.messages(t)
	headers := parentOf(callersTrace, "01")
	headers.Set("If-Match", etag(lamp.Rev))
	status, _, answer := f.admin(t, 0, "PATCH", productPath(lamp), `{"stock":1}`, headers)
	edited := parse[store.Product](t, answer)
	want := `{"id":` + itoa(lamp.ID) + `,"version":` + itoa(edited.Version) + `}`
	if got := <-messages; status != 200 || got != want {
		t.Errorf("%d, published %s, want %s", status, got, want)
	}
	headers.Set("If-Match", etag(lamp.Rev))
	_, _, answer = f.admin(t, 0, "PATCH", productPath(mug), `{"stock":1}`, headers)
	if strings.Contains(answer, "instance") {
		t.Error(answer)
	}
}

// The trace context in published messages is bounded, and older instances understand
// the messages.
func TestPublishedTraceContextIsBounded(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	f := tracedFleet(t, r.URL, 0, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	messages := f.messages(t)
	headers := parentOf(callersTrace, "01")
	headers.Set("Tracestate", "vendor="+strings.Repeat("x", 200))
	headers.Set("If-Match", etag(lamp.Rev))
	f.admin(t, 0, "PATCH", productPath(lamp), `{"stock":1}`, headers)
	message := <-messages
	old := parse[store.Rev](t, message)
	if old.ID != lamp.ID || old.Version <= lamp.Version || !strings.Contains(message, `"traceparent":"00-`+callersTrace) ||
		len(message) > 130 {
		t.Errorf("published %s", message)
	}
	headers.Del("If-Match")
	f.admin(t, 0, "POST", "/api/v1/products:refresh", `{"ids":[`+itoa(lamp.ID)+`,`+itoa(mug.ID)+`]}`, headers)
	message = <-messages
	if all := parse[[]store.Rev](t, message); len(all) != 2 || strings.Count(message, callersTrace) != 1 {
		t.Errorf("published %s", message)
	}
	// Invalid trace contexts are ignored.
	for _, traceparent := range []string{strings.Repeat("f", 1<<16),
		"00-" + callersTrace + "-" + callersSpan + "-zz", `\u0000`} {
		f.publish(t, `{"id":`+itoa(mug.ID)+`,"version":1,"traceparent":"`+traceparent+`"}`)
	}
	s := f.shopper(t, 1, "")
	s.watch("card", store.Rev{ID: mug.ID})
	if got := s.next(); len(got.Fragments) != 1 {
		t.Errorf("got %v", got)
	}
}

// An unreachable collector costs only the last spans, and is logged.
func TestUnreachableCollector(t *testing.T) {
	hangs := make(chan struct{})
	away := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer away.Close()
	defer close(hangs)
	f := tracedFleet(t, away.URL, 1, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	s := f.shopper(t, 1, "")
	s.watch("card", lamp.Rev, mug.Rev)
	s.settled()
	f.edit(t, 0, lamp.Rev, `{"stock":1}`)
	s.next()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, stop := range f.stop {
			stop()
		}
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the instances do not end")
	}
	if n := f.counter(t, "shelfcast_trace_spans_total", "failed"); n == 0 {
		t.Error("what was not sent is not counted")
	}
}

// The OTEL_… variables work like the flag, and unsupported values are reported.
func TestOTELVariables(t *testing.T) {
	r := startReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=mine")
	f := tracedFleet(t, "", 1, nil)
	f.product(t, "lamp")
	f.product(t, "mug")
	for _, stop := range f.stop {
		stop()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spans) == 0 || r.spans[0].instance != "mine" || r.header.Get("X-Tenant") != "shop" ||
		r.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%d spans came, with %v", len(r.spans), r.header)
	}
}

func TestTraceSettingsAreChecked(t *testing.T) {
	for says, traces := range map[string]server.Traces{
		"--otlp-endpoint": {Endpoint: "collector:4318"},
		"--trace-ratio":   {Endpoint: "http://collector:4318", Ratio: 1.5},
	} {
		_, err := server.New(t.Context(), server.Settings{Traces: traces}, server.Options{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", traces, err)
		}
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	grpc := server.Settings{Traces: server.Traces{Endpoint: "http://collector:4318"}}
	_, err := server.New(t.Context(), grpc, server.Options{})
	if err == nil || !strings.Contains(err.Error(), "http/protobuf") {
		t.Errorf("grpc: %v", err)
	}
}

// messages returns the messages published from now on.
func (f *fleet) messages(t *testing.T) <-chan string {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: f.redis.Addr()})
	t.Cleanup(func() { rdb.Close() })
	subscription := rdb.Subscribe(t.Context(), f.channel(t))
	if _, err := subscription.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	messages := make(chan string, 100)
	go func() {
		for m := range subscription.Channel() {
			messages <- m.Payload
		}
	}()
	return messages
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func (f *fleet) publish(t *testing.T, message string) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: f.redis.Addr()})
	defer rdb.Close()
	if err := rdb.Publish(t.Context(), f.channel(t), message).Err(); err != nil {
		t.Fatal(err)
	}
}
