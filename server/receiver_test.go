package server_test

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
)

// A receiver is an OpenTelemetry collector: it accepts traces by OTLP over HTTP.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	spans  []aSpan
	header http.Header // of the last request
}

// aSpan is the part of a span that tests check.
type aSpan struct {
	trace, id, parent string
	name, instance    string
	attributes        map[string]string
}

func startReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header = request.Header.Clone()
	body := io.Reader(request.Body)
	if request.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(body)
	}
	text, err := io.ReadAll(body)
	var said collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(text, &said)
	}
	if err != nil || request.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest) // which is not retried
		return
	}
	for _, of := range said.ResourceSpans {
		instance := plain(of.Resource.Attributes)["service.instance.id"]
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				r.spans = append(r.spans, aSpan{
					trace: hex.EncodeToString(s.TraceId), id: hex.EncodeToString(s.SpanId), parent: hex.EncodeToString(s.ParentSpanId),
					name: s.Name, instance: instance, attributes: plain(s.Attributes),
				})
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// plain returns attributes as text.
func plain(all []*common.KeyValue) map[string]string {
	texts := map[string]string{}
	for _, a := range all {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			texts[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			texts[a.Key] = itoa(v.IntValue)
		}
	}
	return texts
}

// of returns the spans of a trace received so far.
func (r *receiver) of(trace string) (spans []aSpan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.trace == trace {
			spans = append(spans, s)
		}
	}
	return spans
}

// below returns the spans with the given name that have that span as an ancestor.
func below(spans []aSpan, top aSpan, name string) (found []aSpan) {
	byID := map[string]aSpan{}
	for _, s := range spans {
		byID[s.id] = s
	}
	for _, s := range spans {
		for at := s; s.name == name && at.id != ""; at = byID[at.parent] {
			if at.id == top.id {
				found = append(found, s)
				break
			}
		}
	}
	return found
}

func named(spans []aSpan, name string) (found []aSpan) {
	for _, s := range spans {
		if s.name == name {
			found = append(found, s)
		}
	}
	return found
}
