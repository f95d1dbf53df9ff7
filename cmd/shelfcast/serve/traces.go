package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"shelfcast/store/tracing"
)

// Traces says where traces of edits go. What there is to say beyond that
// (headers, certificates, compression, the resource) the OTEL_… variables say.
type Traces struct {
	Endpoint string  `name:"otlp-endpoint" placeholder:"URL" help:"Trace edits, and send the traces to this OpenTelemetry collector, by OTLP over HTTP, as http://collector:4318. OTEL_EXPORTER_OTLP_ENDPOINT and its like do so too."`
	Ratio    float64 `name:"trace-ratio" default:"1" help:"Of the edits whose caller does not say whether to trace them, so many are traced: from 0 to 1."`
}

// flushing is how long the last spans may take to be sent, at the end.
const flushing = 2 * time.Second

// variable is the first of these environment variables that says something.
func variable(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// on: there is somewhere to send traces to.
func (t Traces) on() bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	return t.Endpoint != "" || variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != ""
}

func (t Traces) check() error {
	if t.Ratio < 0 || t.Ratio > 1 {
		return errors.New("--trace-ratio is not between 0 and 1")
	}
	if t.Endpoint != "" {
		if u, err := url.Parse(t.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("--otlp-endpoint %q is not the URL of a collector, as http://collector:4318", t.Endpoint)
		}
	}
	protocol := variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	if t.on() && protocol == "grpc" {
		return errors.New("traces are sent by http/protobuf, and OTEL_EXPORTER_OTLP_PROTOCOL says grpc: name the collector's port for HTTP, mostly 4318")
	}
	return nil
}

// target is where the exporter sends to, if that is not what the environment says.
func (t Traces) target() []otlptracehttp.Option {
	if t.Endpoint == "" {
		return nil
	}
	return []otlptracehttp.Option{otlptracehttp.WithEndpointURL(strings.TrimSuffix(t.Endpoint, "/") + "/v1/traces")}
}

// start has the tracer, and what ends it and sends what is left, within a bound.
// Nothing need be reachable.
func (t Traces) start(ctx context.Context, version string, to prometheus.Registerer, log *slog.Logger) (_ trace.Tracer, end func(), err error) {
	client, err := otlptracehttp.New(ctx, t.target()...)
	if err != nil {
		return nil, nil, fmt.Errorf("--otlp-endpoint: %w", err)
	}
	host, _ := os.Hostname()
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			attribute.String("service.name", "shelfcast"), attribute.String("service.version", version),
			attribute.String("service.instance.id", rand.Text()), attribute.String("host.name", host)),
		resource.WithFromEnv()) // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are the last word
	if err != nil {
		log.Warn("what traces say of this instance is not complete", "error", err)
	}
	until, stop := context.WithCancel(context.Background())
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(newExporter(until, client, to, log)),
		sdk.WithResource(about),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(t.Ratio))))
	end = func() {
		defer stop()
		defer time.AfterFunc(flushing, stop).Stop() // what is being sent is given up then, and counted
		ctx, cancel := context.WithTimeout(context.Background(), flushing+500*time.Millisecond)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("the last traces were not sent", "error", err)
		}
	}
	return provider.Tracer(tracing.Name), end, nil
}

// An exporter counts what is sent, and says when sending begins to fail and when
// it works again: the library has only a place for the whole process to say so.
type exporter struct {
	sdk.SpanExporter
	until            context.Context // ends all sending
	exported, failed prometheus.Counter
	log              *slog.Logger
	failing          atomic.Bool
}

func newExporter(until context.Context, with sdk.SpanExporter, to prometheus.Registerer, log *slog.Logger) *exporter {
	spans := promauto.With(to).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_trace_spans_total", Help: "Spans sent to the collector, by result: exported, or failed.",
	}, []string{"result"})
	return &exporter{SpanExporter: with, until: until, log: log, exported: spans.WithLabelValues("exported"), failed: spans.WithLabelValues("failed")}
}

func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.until, cancel)()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		e.failed.Add(float64(len(spans)))
		if !e.failing.Swap(true) {
			e.log.Warn("traces are not taken by the collector", "error", err)
		}
		return nil // it is said
	}
	e.exported.Add(float64(len(spans)))
	if e.failing.Swap(false) {
		e.log.Info("traces are taken by the collector again")
	}
	return nil
}
