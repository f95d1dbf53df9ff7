// Package tracing is what the layers need to be parts of a trace (OpenTelemetry).
// A trace begins where a provider was given: at a request of the admin API, or at
// a message of another instance's. Everything below that goes by the context, and
// costs next to nothing where there is no trace in it.
package tracing

import (
	"context"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Name is of the tracer: the instrumentation scope.
const Name = "shelfcast"

// none is a span that does nothing.
var none = trace.SpanFromContext(context.Background())

// Start begins a span below that of ctx. If there is none, or it is not sampled,
// the span does nothing: ask IsRecording before making attributes.
func Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsSampled() {
		return ctx, none
	}
	return parent.TracerProvider().Tracer(Name).Start(ctx, name, options...)
}

// Sampled says whether a span that Start begins would be part of a trace.
func Sampled(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsSampled() }

// maxError is how much of an error a span has.
const maxError = 300

// Fail marks a span as failed.
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

// maxState is how much of a tracestate is taken: what has to be passed on at
// least (W3C Trace Context, 3.3.1.5).
const maxState = 512

// Parent is the traceparent of ctx's span (W3C Trace Context), of 55 bytes; "" if
// it is not sampled, and so there is nothing for others to go on with.
func Parent(ctx context.Context) string {
	if !Sampled(ctx) {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[parent]
}

// WithParent has ctx go on with the trace that a caller names. What is no
// traceparent is as none. It keeps nothing of the strings.
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

// ID is of ctx's trace, sampled or not; "" if there is none.
func ID(ctx context.Context) string {
	of := trace.SpanContextFromContext(ctx)
	if !of.HasTraceID() {
		return ""
	}
	return of.TraceID().String()
}

// logs adds the ids of the context's trace to what is logged.
type logs struct{ slog.Handler }

// Logs is to, with the ids of the trace that what is logged belongs to.
func Logs(to slog.Handler) slog.Handler { return logs{to} }

func (l logs) Handle(ctx context.Context, r slog.Record) error {
	if of := trace.SpanContextFromContext(ctx); of.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", of.TraceID().String()), slog.String("span_id", of.SpanID().String()))
	}
	return l.Handler.Handle(ctx, r)
}

func (l logs) WithAttrs(all []slog.Attr) slog.Handler { return logs{l.Handler.WithAttrs(all)} }
func (l logs) WithGroup(name string) slog.Handler     { return logs{l.Handler.WithGroup(name)} }
