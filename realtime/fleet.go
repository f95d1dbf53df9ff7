package realtime

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"shelfcast/internal/tracing"
	"shelfcast/realtime/bus"
	"shelfcast/store"
)

// FleetConfig configures a Fleet. The zero value means the defaults.
type FleetConfig struct {
	Timeout      time.Duration // of a publish; 300ms
	CountTimeout time.Duration // to wait for the replies to a request for watcher counts; 300ms
	Tracer       trace.Tracer  // continues the traces of other instances' edits; nil: nothing is traced
	Metrics      prometheus.Registerer
	Log          *slog.Logger
}

// A Fleet is all instances of the shop, as one of them sees the others over the bus: it tells
// them of committed versions and applies what they tell to its hub. Delivery is at most once:
// the Feed finds what the bus loses.
//
// A version is {"id":42,"version":1795433536820389} on the bus; those that were committed
// together are an array. A traced edit has its "traceparent" in the message (in the first
// element of an array).
type Fleet struct {
	bus  bus.Bus
	hub  *Hub
	cfg  FleetConfig
	log  *slog.Logger
	name string // of this instance

	countRequests chan string // requests of other instances; never closed
	inbox         inbox
	counted       countMetrics

	published, unpublished, received, invalid prometheus.Counter
}

// NewFleet returns a Fleet that applies to hub what it receives while Run runs.
func NewFleet(over bus.Bus, hub *Hub, cfg FleetConfig) *Fleet {
	cfg.Timeout = cmp.Or(cfg.Timeout, 300*time.Millisecond)
	cfg.CountTimeout = cmp.Or(cfg.CountTimeout, 300*time.Millisecond)
	counter := counters(cfg.Metrics)
	return &Fleet{
		bus: over, hub: hub, cfg: cfg,
		log:           cmp.Or(cfg.Log, slog.Default()),
		name:          rand.Text(),
		countRequests: make(chan string, 16),
		inbox:         inbox{requests: map[string]chan string{}},
		counted:       newCountMetrics(cfg.Metrics),
		published:     counter("shelfcast_bus_published_total", "Versions published to the bus."),
		unpublished: counter("shelfcast_bus_publish_failures_total",
			"Versions that could not be published to the bus; the feed delivers them."),
		received: counter("shelfcast_bus_received_total", "Versions received from the bus."),
		invalid:  counter("shelfcast_bus_invalid_messages_total", "Messages of the bus that could not be decoded."),
	}
}

// perMessage is the most versions in one message.
const perMessage = 1000

// Publish sends committed versions to every instance: to this one first and directly, to the
// others over the bus. A page that shows several of the products gets them in one frame. It
// returns no error: what the bus does not accept is counted and logged, and the feeds find it.
func (f *Fleet) Publish(ctx context.Context, revs ...store.Rev) {
	if len(revs) == 0 {
		return
	}
	ctx, span := tracing.Start(ctx, "publish", trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	product(span, revs)
	f.hub.apply(revs, change{trace: traceOf(ctx), together: len(revs) > 1})
	// The edit is committed, so publish it even if the request was cancelled.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx),
		f.cfg.Timeout+time.Duration(len(revs))*50*time.Microsecond)
	defer cancel()
	var announcing sync.WaitGroup
	var err, unannounced error
	announcing.Go(func() { unannounced = f.hub.fragments.Announce(ctx, revs...) })
	lost := 0
	for some := range slices.Chunk(revs, perMessage) {
		message := encodeChanges(some, len(revs) > 1, tracing.Parent(ctx))
		if _, failed := f.bus.Publish(ctx, bus.Changes, message); failed != nil {
			err = cmp.Or(err, failed)
			lost += len(some)
		}
	}
	announcing.Wait()
	f.unpublished.Add(float64(lost))
	f.published.Add(float64(len(revs) - lost))
	switch {
	case err != nil:
		tracing.Fail(span, err)
		f.log.WarnContext(ctx, "publishing to the bus failed; the feeds deliver it within two seconds",
			"product", revs[0].ID, "version", revs[0].Version, "versions", len(revs), "unpublished", lost, "error", err)
	case unannounced != nil:
		f.log.WarnContext(ctx, "writing current versions to Redis failed; the feed tries again",
			"product", revs[0].ID, "version", revs[0].Version, "versions", len(revs), "error", unannounced)
	}
}

// PublishHidden publishes a version of a product that shoppers may not see. It only wakes
// those who wait for changes (Hub.Changed).
func (f *Fleet) PublishHidden(ctx context.Context, r store.Rev) {
	f.hub.changed.note(r.Version, true)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.cfg.Timeout)
	defer cancel()
	if _, err := f.bus.Publish(ctx, bus.Changes, encode(announced{Rev: r, Hidden: true})); err != nil {
		f.unpublished.Inc() // the feed finds it
		return
	}
	f.published.Inc()
}

// announced is a version in a message.
type announced struct {
	store.Rev
	Traceparent string `json:"traceparent,omitempty"`
	Hidden      bool   `json:"hidden,omitempty"` // shoppers may not know of it
}

// encodeChanges returns the message of these versions, which may be a part of what was
// committed together.
func encodeChanges(revs []store.Rev, together bool, traceparent string) []byte {
	if !together {
		return encode(announced{Rev: revs[0], Traceparent: traceparent})
	}
	all := make([]announced, len(revs))
	for i, r := range revs {
		all[i].Rev = r
	}
	all[0].Traceparent = traceparent
	return encode(all)
}

// encode returns a message as JSON.
func encode(message any) []byte {
	text, err := json.Marshal(message)
	if err != nil {
		panic(err) // numbers and names
	}
	return text
}
