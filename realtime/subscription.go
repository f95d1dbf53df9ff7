package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"shelfcast/store"
	"shelfcast/store/tracing"
)

// Listen applies what other instances publish, until ctx ends. It calls gap
// after each subscription, the first one too: what was published before it has
// been missed.
func (b *Bus) Listen(ctx context.Context, gap func()) error {
	select {
	case <-b.shop.Known():
	case <-ctx.Done():
		return nil
	}
	var g errgroup.Group
	g.Go(func() error { return b.probing(ctx) })
	g.Go(func() error { return b.answering(ctx) })
	for ctx.Err() == nil {
		err := b.subscribe(ctx, func() {
			b.gaps.Inc()
			gap()
		})
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errSilent) {
			b.silent.Inc()
		}
		if !b.failing.Swap(true) {
			b.log.Warn("the bus is down; the feed goes on", "error", err)
		}
		if cluster, ok := b.rdb.(*redis.ClusterClient); ok {
			// Or it may go on asking a node that is gone for half a minute.
			cluster.ReloadState(ctx)
		}
		select {
		case <-time.After(50*time.Millisecond + mathrand.N(100*time.Millisecond)):
		case <-ctx.Done():
		}
	}
	return g.Wait()
}

// Age is how long ago a probe last came back; an hour if none has.
func (b *Bus) Age() time.Duration {
	last := b.lastBack.Load()
	if last == 0 {
		return time.Hour
	}
	return time.Since(time.Unix(0, last))
}

// Healthy: what is published comes back. If not, edits come through the
// database, a second later.
func (b *Bus) Healthy() bool { return b.Age() < b.cfg.Silence+b.cfg.Probe }

// The channels beside that of changes.
func questions(k store.Keys) string  { return k.Beside("census") }    // for a census
func broadcasts(k store.Keys) string { return k.Beside("broadcast") } // for all pages of an Odoo shop

// inboxOf returns an instance's own channel: of its probes, and of what others
// answer it.
func inboxOf(instance string) func(store.Keys) string {
	return func(k store.Keys) string { return k.Beside("probe:" + instance) }
}

// ping is a probe.
const ping = "?"

// probing publishes probes in the way that versions are published. That a
// connection is open, and even that a ping on it is answered, says little: Redis
// may hang, or be a primary no more, to which nobody publishes.
func (b *Bus) probing(ctx context.Context) error {
	tick := time.NewTicker(b.cfg.Probe)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-b.subscribed:
		case <-ctx.Done():
			return nil
		}
		limited, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
		if _, err := b.publishTo(limited, inboxOf(b.name), ping); err != nil {
			b.log.Debug("a probe could not be published", "error", err)
		}
		cancel()
	}
}

var errSilent = errors.New("nothing comes on the subscription, not even what this instance publishes")

// subscribe subscribes once, and receives until that fails or nothing comes.
func (b *Bus) subscribe(ctx context.Context, gap func()) error {
	keys, err := b.shop.Keys()
	if err != nil {
		return err
	}
	subscribe := b.rdb.Subscribe
	if b.sharded {
		subscribe = b.rdb.SSubscribe
	}
	subscription := subscribe(ctx, keys.Channel(), inboxOf(b.name)(keys), questions(keys), broadcasts(keys))
	defer subscription.Close()
	stop := context.AfterFunc(ctx, func() { subscription.Close() }) // ends a Receive
	defer stop()
	for heard := time.Now(); ; {
		message, err := subscription.ReceiveTimeout(ctx, b.cfg.Probe)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			if time.Since(heard) > b.cfg.Silence {
				return errSilent
			}
			continue
		}
		if err != nil {
			return err
		}
		heard = time.Now()
		switch m := message.(type) {
		case *redis.Subscription:
			if strings.HasSuffix(m.Kind, "unsubscribe") { // the slot has moved
				return fmt.Errorf("Redis has ended the subscription to %s", m.Channel)
			}
			if m.Channel == keys.Channel() {
				gap()
				break
			}
			select {
			case b.subscribed <- struct{}{}:
			default: // a probe is about to be published
			}
		case *redis.Message:
			b.receive(keys, m)
		}
	}
}

func (b *Bus) receive(of store.Keys, m *redis.Message) {
	switch {
	case m.Channel == of.Channel():
		b.receiveNews(m.Payload)
	case m.Channel == questions(of):
		b.hear(m.Payload)
	case m.Channel == broadcasts(of):
		b.hearBroadcast(m.Payload)
	case m.Payload != ping:
		b.hearAnswer(m.Payload)
	default:
		b.lastBack.Store(time.Now().UnixNano())
		if b.failing.Swap(false) {
			b.log.Info("the bus is back")
		}
	}
}

// receiveNews takes a version, or several.
func (b *Bus) receiveNews(payload string) {
	if strings.HasPrefix(payload, "[") {
		b.receiveAll(payload)
		return
	}
	var s sent
	if err := json.Unmarshal([]byte(payload), &s); err != nil || !possible(s.Rev) {
		b.garbage(payload)
		return
	}
	b.received.Inc()
	if s.Hidden {
		b.hub.changed.note(s.Version, true)
		return
	}
	way, span := b.arrives(s.Traceparent, []store.Rev{s.Rev})
	defer span.End()
	b.hub.apply(s.Rev, way)
}

// receiveAll takes versions that were committed together. If one of them is
// none, the message is not ours, and none is taken.
func (b *Bus) receiveAll(payload string) {
	var all []sent
	err := json.Unmarshal([]byte(payload), &all)
	if err != nil || len(all) == 0 || slices.ContainsFunc(all, func(s sent) bool { return !possible(s.Rev) }) {
		b.garbage(payload)
		return
	}
	b.received.Add(float64(len(all)))
	revs := make([]store.Rev, len(all))
	for i, s := range all {
		revs[i] = s.Rev
	}
	way, span := b.arrives(all[0].Traceparent, revs)
	defer span.End()
	b.hub.applyAll(revs, way)
}

// arrives goes on with the trace of what another instance has published, if it
// says one and it is sampled; nil if it does not.
func (b *Bus) arrives(traceparent string, revs []store.Rev) (*way, trace.Span) {
	ctx := context.Background()
	if b.cfg.Tracer == nil || traceparent == "" {
		return nil, trace.SpanFromContext(ctx)
	}
	if ctx = tracing.WithParent(ctx, traceparent, ""); !tracing.Sampled(ctx) {
		return nil, trace.SpanFromContext(ctx)
	}
	ctx, span := b.cfg.Tracer.Start(ctx, "receive", trace.WithSpanKind(trace.SpanKindConsumer))
	product(span, revs)
	return wayOf(ctx), span
}

// possible: it may name the state of a product.
func possible(r store.Rev) bool { return r.ID > 0 && r.Version > 0 }

func (b *Bus) garbage(payload string) {
	b.garbled.Inc()
	b.log.Debug("a message on the bus is no version", "payload", payload[:min(len(payload), 200)])
}
