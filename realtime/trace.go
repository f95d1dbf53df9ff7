package realtime

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"shelfcast/internal/tracing"
	"shelfcast/store"
)

// An editTrace carries the trace of an edit, or of what was committed together, through this
// instance: from Apply to its topics, and with the news of each to the flush cycle that
// delivers it. nil means not traced.
type editTrace struct {
	ctx  context.Context // has the span to continue from
	left atomic.Int32    // fragments that may still get a span: a batch may have thousands of products
}

// maxLoadSpans is how many fragments of an editTrace get spans.
const maxLoadSpans = 20

// traceOf returns the editTrace of ctx, and nil if ctx is not traced.
func traceOf(ctx context.Context) *editTrace {
	if !tracing.Sampled(ctx) {
		return nil
	}
	// Do not keep the request's context: Fiber reuses it for another request.
	w := &editTrace{ctx: trace.ContextWithSpan(context.Background(), trace.SpanFromContext(ctx))}
	w.left.Store(maxLoadSpans)
	return w
}

// continueTrace makes the topic's next news part of w.
func (t *topic) continueTrace(w *editTrace) {
	if w != nil {
		t.trace.Store(w)
	}
}

// takeTrace returns the trace that the topic's next news belongs to, and clears it.
func (t *topic) takeTrace() *editTrace {
	if t.trace.Load() == nil {
		return nil
	}
	return t.trace.Swap(nil)
}

// startFragment starts the span of loading a topic's fragment. Without a trace, or after
// maxLoadSpans, the span does nothing.
func (w *editTrace) startFragment(t *topic, version int64) (context.Context, trace.Span) {
	if w == nil || w.left.Add(-1) < 0 {
		return tracing.Start(context.Background(), "fragment")
	}
	ctx, span := tracing.Start(w.ctx, "fragment")
	span.SetAttributes(
		attribute.Int64("shelfcast.product", t.id), attribute.Int64("shelfcast.version", version),
		attribute.String("shelfcast.view", string(t.kind.view)),
		attribute.String("shelfcast.tier", "memory")) // unless the cache says otherwise
	return ctx, span
}

// A cycleTrace has the spans of a flush cycle: one for each editTrace that has news in it.
type cycleTrace struct {
	spans             []trace.Span
	deliveries, bytes atomic.Int64
}

// startCycleTrace starts the spans of a flush cycle. It returns nil if no news of it is traced.
func startCycleTrace(all []news) *cycleTrace {
	var t *cycleTrace
	var products map[*editTrace]int
	for _, n := range all {
		if n.trace == nil {
			continue
		}
		if t == nil {
			t, products = &cycleTrace{}, map[*editTrace]int{}
		}
		products[n.trace]++
	}
	for w, n := range products {
		_, span := tracing.Start(w.ctx, "flush")
		span.SetAttributes(attribute.Int("shelfcast.products", n))
		t.spans = append(t.spans, span)
	}
	return t
}

// write starts the spans of the writing, below those of the flush cycle; end ends both.
func (t *cycleTrace) write(sessions int) (end func()) {
	if t == nil {
		return func() {}
	}
	var writes []trace.Span
	for _, cycle := range t.spans {
		_, span := tracing.Start(trace.ContextWithSpan(context.Background(), cycle), "write frames")
		writes = append(writes, span)
	}
	return func() {
		for i, span := range writes {
			span.SetAttributes(
				attribute.Int("shelfcast.sessions", sessions),
				attribute.Int64("shelfcast.deliveries", t.deliveries.Load()), attribute.Int64("shelfcast.bytes", t.bytes.Load()))
			span.End()
			t.spans[i].End()
		}
	}
}

// take counts what a worker has written.
func (t *cycleTrace) take(w *scratch) {
	if t != nil {
		t.deliveries.Add(int64(w.deliveries))
		t.bytes.Add(int64(w.bytes))
	}
}

// product records in a span which products it is about.
func product(span trace.Span, revs []store.Rev) {
	if span.IsRecording() && len(revs) > 0 {
		span.SetAttributes(
			attribute.Int64("shelfcast.product", revs[0].ID), attribute.Int64("shelfcast.version", revs[0].Version),
			attribute.Int("shelfcast.products", len(revs)))
	}
}
