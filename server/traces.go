package server

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

	"shelfcast/internal/tracing"
)

// Traces configures the export of traces of edits. The OTEL_… variables configure
// everything else: headers, certificates, compression, the resource.
type Traces struct {
	Endpoint string  `name:"otlp-endpoint" placeholder:"URL" help:"OpenTelemetry collector to send traces of edits to, by OTLP over HTTP, for example http://collector:4318. The OTEL_EXPORTER_OTLP_* variables work too."`
	Ratio    float64 `name:"trace-ratio" default:"1" help:"Share of edits to trace, from 0 to 1, where the caller did not decide."`
}

// flushing bounds the export of the last spans at shutdown.
const flushing = 2 * time.Second

// variable returns the value of the first of these environment variables that is not
// empty.
func variable(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// on reports whether traces are exported.
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
		return errors.New("traces are sent by http/protobuf, and OTEL_EXPORTER_OTLP_PROTOCOL says grpc: " +
			"name the collector's port for HTTP, mostly 4318")
	}
	return nil
}

// target returns the exporter's endpoint, unless the environment sets it.
func (t Traces) target() []otlptracehttp.Option {
	if t.Endpoint == "" {
		return nil
	}
	return []otlptracehttp.Option{otlptracehttp.WithEndpointURL(strings.TrimSuffix(t.Endpoint, "/") + "/v1/traces")}
}

// start returns a tracer, and end, which exports the remaining spans and stops it. The
// collector need not be reachable.
func (t Traces) start(ctx context.Context, version string, to prometheus.Registerer,
	log *slog.Logger) (_ trace.Tracer, end func(), err error) {
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
		resource.WithFromEnv()) // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override the above
	if err != nil {
		log.Warn("detecting the resource of traces failed; its attributes are incomplete", "error", err)
	}
	until, stop := context.WithCancel(context.Background())
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(newExporter(until, client, to, log)),
		sdk.WithResource(about),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(t.Ratio))))
	end = func() {
		defer stop()
		defer time.AfterFunc(flushing, stop).Stop() // cancels a running export, which is counted
		ctx, cancel := context.WithTimeout(context.Background(), flushing+500*time.Millisecond)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("exporting the last traces failed", "error", err)
		}
	}
	return provider.Tracer(tracing.Name), end, nil
}

// An exporter counts spans, and logs when exporting begins to fail and when it works
// again: the library reports errors only through a handler of the whole process.
type exporter struct {
	sdk.SpanExporter
	until            context.Context // cancels exports
	exported, failed prometheus.Counter
	log              *slog.Logger
	failing          atomic.Bool
}

func newExporter(until context.Context, with sdk.SpanExporter, to prometheus.Registerer, log *slog.Logger) *exporter {
	spans := promauto.With(to).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_trace_spans_total", Help: "Spans sent to the collector, by result: exported or failed.",
	}, []string{"result"})
	return &exporter{SpanExporter: with, until: until, log: log, exported: spans.WithLabelValues("exported"),
		failed: spans.WithLabelValues("failed")}
}

func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.until, cancel)()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		e.failed.Add(float64(len(spans)))
		if !e.failing.Swap(true) {
			e.log.Warn("exporting traces failed; they are dropped", "error", err)
		}
		return nil // logged and counted here
	}
	e.exported.Add(float64(len(spans)))
	if e.failing.Swap(false) {
		e.log.Info("exporting traces works again")
	}
	return nil
}
