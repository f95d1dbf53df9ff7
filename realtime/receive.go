package realtime

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"shelfcast/internal/tracing"
	"shelfcast/realtime/bus"
	"shelfcast/store"
)

// Run applies what other instances publish and answers their requests for watcher counts, until ctx ends. It
// calls gap when messages may have been missed (see bus.Listener).
func (f *Fleet) Run(ctx context.Context, gap func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.serveCountRequests(ctx) })
	g.Go(func() error { return f.bus.Listen(ctx, bus.Listener{Instance: f.name, Gap: gap, Deliver: f.receive}) })
	return g.Wait()
}

// receive handles a message. It must not block.
func (f *Fleet) receive(from bus.Channel, message string) {
	switch from {
	case bus.Changes:
		f.receiveChanges(message)
	case bus.CountRequests:
		f.receiveCountRequest(message)
	case bus.Broadcasts:
		f.receiveBroadcast(message)
	default: // the inbox of this instance
		f.receiveCountReply(message)
	}
}

// receiveChanges applies the versions of a message. If any of them is invalid the whole
// message is dropped.
func (f *Fleet) receiveChanges(message string) {
	all, err := decodeChanges(message)
	if err != nil || len(all) == 0 || slices.ContainsFunc(all, func(a announced) bool { return !possible(a.Rev) }) {
		f.dropInvalid(message)
		return
	}
	f.received.Add(float64(len(all)))
	revs := make([]store.Rev, 0, len(all))
	for _, a := range all {
		if a.Hidden {
			f.hub.changed.note(a.Version, true)
		} else {
			revs = append(revs, a.Rev)
		}
	}
	if len(revs) == 0 {
		return
	}
	edit, span := f.continueTrace(all[0].Traceparent, revs)
	defer span.End()
	f.hub.apply(revs, change{trace: edit, together: strings.HasPrefix(message, "[")})
}

// decodeChanges returns the versions of a message: see encodeChanges.
func decodeChanges(message string) (all []announced, err error) {
	if strings.HasPrefix(message, "[") {
		err = json.Unmarshal([]byte(message), &all)
		return all, err
	}
	all = make([]announced, 1)
	err = json.Unmarshal([]byte(message), &all[0])
	return all, err
}

// possible reports whether r can be a version of a product.
func possible(r store.Rev) bool { return r.ID > 0 && r.Version > 0 }

// continueTrace continues the trace of an edit that another instance has published. It returns
// nil if that is not traced or not sampled.
func (f *Fleet) continueTrace(traceparent string, revs []store.Rev) (*editTrace, trace.Span) {
	ctx := context.Background()
	if f.cfg.Tracer == nil || traceparent == "" {
		return nil, trace.SpanFromContext(ctx)
	}
	if ctx = tracing.WithParent(ctx, traceparent, ""); !tracing.Sampled(ctx) {
		return nil, trace.SpanFromContext(ctx)
	}
	ctx, span := f.cfg.Tracer.Start(ctx, "receive", trace.WithSpanKind(trace.SpanKindConsumer))
	product(span, revs)
	return traceOf(ctx), span
}

func (f *Fleet) dropInvalid(message string) {
	f.invalid.Inc()
	f.log.Debug("dropped a message that is not a version", "payload", message[:min(len(message), 200)])
}
