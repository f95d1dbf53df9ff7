package realtime

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"shelfcast/store"
	"shelfcast/store/tracing"
)

// A way is the trace that an edit, or what was committed together, goes through
// this instance: from Apply to the topics that it raised, with the news of each to
// the round that tells it. There is one only for what is traced; nil is none.
type way struct {
	ctx  context.Context // has the span that it goes on from
	left atomic.Int32    // fragments that have yet a span: a batch is of a thousand products
}

// maxWaySpans bounds the fragments of a way that have spans.
const maxWaySpans = 20

// wayOf is nil if ctx is not traced.
func wayOf(ctx context.Context) *way {
	if !tracing.Sampled(ctx) {
		return nil
	}
	// Of a request's context nothing is kept: it is another's when that has ended.
	w := &way{ctx: trace.ContextWithSpan(context.Background(), trace.SpanFromContext(ctx))}
	w.left.Store(maxWaySpans)
	return w
}

// goOn has the topic's next news go on with w.
func (t *topic) goOn(w *way) {
	if w != nil {
		t.way.Store(w)
	}
}

// arrived is the way that the topic's news goes on with; nil: none.
func (t *topic) arrived() *way {
	if t.way.Load() == nil {
		return nil
	}
	return t.way.Swap(nil)
}

// fragment begins the span of having a topic's fragment. Without a way it is a
// context for that and nothing else.
func (w *way) fragment(t *topic, version int64) (context.Context, trace.Span) {
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

// traced is what a round has spans of: each way that has news in it.
type traced struct {
	spans             []trace.Span
	deliveries, bytes atomic.Int64
}

// traceRound begins the spans of a round; nil if no news of it is traced.
func traceRound(all []news) *traced {
	var t *traced
	var products map[*way]int
	for _, n := range all {
		if n.way == nil {
			continue
		}
		if t == nil {
			t, products = &traced{}, map[*way]int{}
		}
		products[n.way]++
	}
	for w, n := range products {
		_, span := tracing.Start(w.ctx, "round")
		span.SetAttributes(attribute.Int("shelfcast.products", n))
		t.spans = append(t.spans, span)
	}
	return t
}

// write begins the spans of the writing, below those of the round; end ends both.
func (t *traced) write(sessions int) (end func()) {
	if t == nil {
		return func() {}
	}
	var writes []trace.Span
	for _, round := range t.spans {
		_, span := tracing.Start(trace.ContextWithSpan(context.Background(), round), "write frames")
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
func (t *traced) take(w *work) {
	if t != nil {
		t.deliveries.Add(int64(w.deliveries))
		t.bytes.Add(int64(w.bytes))
	}
}

// product says in a span what it is about.
func product(span trace.Span, revs []store.Rev) {
	if span.IsRecording() && len(revs) > 0 {
		span.SetAttributes(
			attribute.Int64("shelfcast.product", revs[0].ID), attribute.Int64("shelfcast.version", revs[0].Version),
			attribute.Int("shelfcast.products", len(revs)))
	}
}
