// Package tracing connects the layers of the program to OpenTelemetry traces.
//
// A trace starts where a provider was given: at a request of the admin API, or at a
// message from another instance. Everything below passes it on in the context, and
// costs next to nothing when the context has no trace.
package tracing

import (
	"context"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Name is the name of the tracer (its instrumentation scope).
const Name = "shelfcast"

// noop is a span that does nothing.
var noop = trace.SpanFromContext(context.Background())

// Start starts a child of the span in ctx. If there is none, or it is not sampled, the
// returned span does nothing: check IsRecording before building attributes.
func Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsSampled() {
		return ctx, noop
	}
	return parent.TracerProvider().Tracer(Name).Start(ctx, name, options...)
}

// Sampled reports whether a span from Start would be recorded.
func Sampled(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsSampled() }

// maxError is the most bytes of an error's text that a span keeps.
const maxError = 300

// Fail marks span as failed with err.
func Fail(span trace.Span, err error) {
	if span.IsRecording() {
		text := err.Error()
		span.SetStatus(codes.Error, strings.ToValidUTF8(text[:min(len(text), maxError)], ""))
	}
}

const (
	parent = "traceparent"
	state  = "tracestate"
)

// maxState is the longest tracestate that is passed on: the minimum that the standard
// demands (W3C Trace Context, 3.3.1.5).
const maxState = 512

// Parent returns the traceparent (W3C Trace Context, 55 bytes) of the span in ctx, or
// "" if it is not sampled.
func Parent(ctx context.Context) string {
	if !Sampled(ctx) {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[parent]
}

// WithParent returns a context that continues the caller's trace. An invalid
// traceparent is ignored. The strings are copied.
func WithParent(ctx context.Context, traceparent, tracestate string) context.Context {
	if traceparent == "" {
		return ctx
	}
	carrier := propagation.MapCarrier{parent: strings.Clone(traceparent)}
	if len(tracestate) <= maxState {
		carrier[state] = strings.Clone(tracestate)
	}
	return propagation.TraceContext{}.Extract(ctx, carrier)
}

// ID returns the id of the trace in ctx, sampled or not, or "" if there is none.
func ID(ctx context.Context) string {
	span := trace.SpanContextFromContext(ctx)
	if !span.HasTraceID() {
		return ""
	}
	return span.TraceID().String()
}

// handler adds trace_id and span_id to log records.
type handler struct{ slog.Handler }

// LogHandler returns a handler that adds the trace_id and span_id of the context to
// each record, and passes it to next.
func LogHandler(next slog.Handler) slog.Handler { return handler{next} }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
