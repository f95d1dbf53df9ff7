package tracing_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"shelfcast/internal/tracing"
)

// recorder returns a tracer provider, and the spans that it records.
func recorder(t *testing.T) (*sdk.TracerProvider, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans), sdk.WithSampler(sdk.ParentBased(sdk.NeverSample())))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return provider, spans
}

const caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestStartCostsNothingWithoutATrace(t *testing.T) {
	ctx, failed := t.Context(), errors.New("failed")
	if n := testing.AllocsPerRun(100, func() {
		its, span := tracing.Start(ctx, "work")
		if span.IsRecording() || its != ctx {
			t.Error("Start returned a recording span")
		}
		tracing.Fail(span, failed)
		span.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if tracing.Parent(ctx) != "" || tracing.ID(ctx) != "" || tracing.Sampled(ctx) {
		t.Error("the context has a trace")
	}
}

// A trace continues below a span that has ended, and in another process by its
// traceparent. A trace that is not sampled has an id and is not propagated.
func TestTraceContinuesInChildrenAndOtherProcesses(t *testing.T) {
	provider, spans := recorder(t)
	ctx, request := provider.Tracer("t").Start(tracing.WithParent(t.Context(), caller, "vendor=1"), "request")
	request.End()
	ctx, below := tracing.Start(ctx, "below")
	parent := tracing.Parent(ctx)
	below.End()
	if len(parent) != 55 || !strings.HasPrefix(parent, caller[:36]) || tracing.ID(ctx) != caller[3:35] {
		t.Errorf("traceparent %q, trace id %q", parent, tracing.ID(ctx))
	}
	if n := len(spans.Ended()); n != 2 || spans.Ended()[1].Parent().SpanID() != request.SpanContext().SpanID() {
		t.Errorf("%d spans were recorded", n)
	}
	ctx, not := provider.Tracer("t").Start(tracing.WithParent(t.Context(), caller[:54]+"0", ""), "not sampled")
	not.End()
	if tracing.Parent(ctx) != "" || tracing.ID(ctx) != caller[3:35] || len(spans.Ended()) != 2 {
		t.Errorf("%q is propagated although it is not sampled", tracing.Parent(ctx))
	}
}

func TestWithParentIgnoresInvalidTraceparents(t *testing.T) {
	for _, text := range []string{"", "nonsense", caller[:54], caller + "-more", strings.ToUpper(caller),
		"ff" + caller[2:], strings.Repeat("0", 1<<16), "00-00000000000000000000000000000000-00f067aa0ba902b7-01"} {
		if ctx := tracing.WithParent(t.Context(), text, ""); tracing.ID(ctx) != "" {
			t.Errorf("%.60q is accepted", text)
		}
	}
	long := tracing.WithParent(t.Context(), caller, "vendor="+strings.Repeat("x", 600))
	if tracing.ID(long) == "" {
		t.Error("a long tracestate makes WithParent drop the traceparent")
	}
}

func TestLogHandlerAddsTraceIDs(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(tracing.LogHandler(slog.NewTextHandler(&said, nil))).With("a", 1)
	log.InfoContext(tracing.WithParent(t.Context(), caller, ""), "traced")
	log.InfoContext(t.Context(), "not traced")
	lines := strings.Split(said.String(), "\n")
	if !strings.HasSuffix(lines[0], "a=1 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7") ||
		strings.Contains(lines[1], "trace_id") {
		t.Error(said.String())
	}
}
