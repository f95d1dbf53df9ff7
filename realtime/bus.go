package realtime

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/store/tracing"
)

// BusConfig tunes a Bus. The zero value means the defaults.
type BusConfig struct {
	Timeout time.Duration // of a publish; 300ms
	Probe   time.Duration // between probes, which are published and have to come back; 1s
	Silence time.Duration // on the subscription, after which it is made anew; 3s
	Census  time.Duration // for all answers to a census; 300ms
	Tracer  trace.Tracer  // goes on with the traces of other instances' edits; nil: nothing is traced
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// A Bus carries Revs between instances, through Redis pub/sub, as
// {"id":42,"version":1795433536820389}, or as an array of those that were
// committed together. An edit that is traced has its "traceparent" there too (of
// an array the first). It is the fast path and promises nothing: what it loses,
// the Feed finds.
type Bus struct {
	rdb  redis.UniversalClient
	shop *store.Shop
	hub  *Hub
	cfg  BusConfig
	log  *slog.Logger

	sharded bool   // Redis is a Cluster: pub/sub is sharded, so that a message goes to one shard and not to all nodes
	name    string // of this instance

	subscribed chan struct{} // to the probes: capacity 1; never closed
	asked      chan string   // the questions of others; never closed
	inbox      inbox
	counted    censusMetrics

	published, unpublished, received, garbled, gaps, silent prometheus.Counter

	failing  atomic.Bool  // the subscription is down
	lastBack atomic.Int64 // when a probe last came back, Unix nanoseconds; 0: none yet

	// Guarded by mu.
	mu       sync.Mutex
	unshared map[int64]int64 // product → version that Redis has yet to be told is current
}

// maxUnshared bounds what is kept for a Redis that is away. Beyond it, what is
// current is forgotten here, and found in the database by whoever asks.
const maxUnshared = 100_000

// NewBus makes a Bus that applies to hub what it hears on the shop's channels.
func NewBus(rdb redis.UniversalClient, shop *store.Shop, hub *Hub, cfg BusConfig) *Bus {
	cfg.Timeout = cmp.Or(cfg.Timeout, 300*time.Millisecond)
	cfg.Probe = cmp.Or(cfg.Probe, time.Second)
	cfg.Silence = cmp.Or(cfg.Silence, 3*time.Second)
	cfg.Census = cmp.Or(cfg.Census, 300*time.Millisecond)
	counter := counters(cfg.Metrics)
	_, sharded := rdb.(*redis.ClusterClient)
	b := &Bus{
		sharded: sharded,
		name:    rand.Text(),

		subscribed: make(chan struct{}, 1),
		asked:      make(chan string, 16),
		inbox:      inbox{questions: map[string]chan string{}},
		counted:    newCensusMetrics(cfg.Metrics),
		rdb:        rdb, shop: shop, hub: hub, cfg: cfg,
		log:         cmp.Or(cfg.Log, slog.Default()),
		published:   counter("shelfcast_bus_published_total", "Versions published to Redis."),
		unpublished: counter("shelfcast_bus_unpublished_total", "Versions that Redis did not take; the feed carries them."),
		received:    counter("shelfcast_bus_received_total", "Versions received from Redis."),
		garbled:     counter("shelfcast_bus_garbled_total", "Messages on the channel that are no versions."),
		gaps:        counter("shelfcast_bus_gaps_total", "Subscriptions made, each of which may have missed messages before it."),
		silent:      counter("shelfcast_bus_silent_total", "Subscriptions on which nothing came any more, and which were made anew."),
		unshared:    map[int64]int64{},
	}
	promauto.With(cfg.Metrics).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_bus_probe_age_seconds", Help: "Since a probe last came back through Redis; an hour if none has.",
	}, func() float64 { return b.Age().Seconds() })
	return b
}

// perMessage is how many versions a message has at most.
const perMessage = 1000

// Publish tells every instance of a version that has been committed, this one
// first and without Redis. There is no error: what Redis does not take is
// counted, and the feeds find it.
func (b *Bus) Publish(ctx context.Context, r store.Rev) { b.PublishAll(ctx, []store.Rev{r}) }

// PublishAll is Publish for versions that were committed together: a page that
// shows several of the products is told of them in one frame.
func (b *Bus) PublishAll(ctx context.Context, revs []store.Rev) {
	if len(revs) == 0 {
		return
	}
	ctx, span := tracing.Start(ctx, "publish", trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	product(span, revs)
	var messages [][]byte
	if len(revs) == 1 {
		b.hub.apply(revs[0], wayOf(ctx))
		messages = append(messages, encode(sent{Rev: revs[0], Traceparent: tracing.Parent(ctx)}))
	} else {
		b.hub.applyAll(revs, wayOf(ctx))
		for some := range slices.Chunk(revs, perMessage) {
			messages = append(messages, encodeAll(some, tracing.Parent(ctx)))
		}
	}
	// The edit is made: that its author has gone is no reason to keep quiet.
	lost, err := b.send(context.WithoutCancel(ctx), messages, revs)
	b.unpublished.Add(float64(lost))
	b.published.Add(float64(len(revs) - lost))
	if err != nil {
		tracing.Fail(span, err)
		b.log.WarnContext(ctx, "publish", "product", revs[0].ID, "version", revs[0].Version, "versions", len(revs), "unpublished", lost, "error", err)
	}
}

// PublishHidden tells every instance that something has changed of which shoppers
// may not know: it wakes those of the staff who wait for changes (Hub.Changed), and
// nobody else hears of it.
func (b *Bus) PublishHidden(ctx context.Context, r store.Rev) {
	b.hub.changed.note(r.Version, true)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.Timeout)
	defer cancel()
	if _, err := b.publishTo(ctx, store.Keys.Channel, encode(sent{Rev: r, Hidden: true})); err != nil {
		b.unpublished.Inc() // the feed finds it
		return
	}
	b.published.Inc()
}

// send publishes these messages, of perMessage versions each, and then tells
// Redis that the versions are current. What it does not take is kept, and
// counted. A pipeline has no more than perMessage of them, because all of its
// answers together have to come within the client's limit.
func (b *Bus) send(ctx context.Context, messages [][]byte, revs []store.Rev) (lost int, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout+time.Duration(len(revs))*50*time.Microsecond)
	defer cancel()
	keys, err := b.shop.Keys()
	if err != nil {
		for _, r := range revs {
			b.keep(r)
		}
		return len(revs), err
	}
	pipe := b.rdb.Pipeline()
	for _, message := range messages {
		b.publish(ctx, pipe, keys.Channel(), message) // Exec says how it went
	}
	var said []redis.Cmder // the messages
	for n := 0; n*perMessage < len(revs); n++ {
		some := revs[n*perMessage : min((n+1)*perMessage, len(revs))]
		for _, r := range some {
			render.SetCurrent(ctx, pipe, keys, r)
		}
		done, failed := pipe.Exec(ctx)
		err = cmp.Or(err, failed)
		if n == 0 {
			said, done = done[:len(messages)], done[len(messages):]
		}
		unsaid := len(said) > 0 && said[n].Err() != nil
		for i, r := range some {
			if unsaid || done[i].Err() != nil {
				b.keep(r)
				lost++
			}
		}
	}
	return lost, err
}

// sent is a version in a message. Who does not know traces leaves the traceparent
// out of account.
type sent struct {
	store.Rev
	Traceparent string `json:"traceparent,omitempty"`
	Hidden      bool   `json:"hidden,omitempty"` // shoppers may not know of it
}

func encodeAll(revs []store.Rev, traceparent string) []byte {
	all := make([]sent, len(revs))
	for i, r := range revs {
		all[i].Rev = r
	}
	all[0].Traceparent = traceparent
	return encode(all)
}

// encode has the JSON of a message of ours.
func encode(said any) []byte {
	message, err := json.Marshal(said)
	if err != nil {
		panic(err) // numbers and names
	}
	return message
}

func (b *Bus) publish(ctx context.Context, to redis.Cmdable, channel string, message any) *redis.IntCmd {
	if b.sharded {
		return to.SPublish(ctx, channel, message)
	}
	return to.Publish(ctx, channel, message)
}

// publishTo publishes on one of the shop's channels.
func (b *Bus) publishTo(ctx context.Context, channel func(store.Keys) string, message any) (heard int64, err error) {
	keys, err := b.shop.Keys()
	if err != nil {
		return 0, err
	}
	return b.publish(ctx, b.rdb, channel(keys), message).Result()
}

// keep remembers that Redis has to be told of r.
func (b *Bus) keep(r store.Rev) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, had := b.unshared[r.ID]; had || len(b.unshared) < maxUnshared {
		b.unshared[r.ID] = max(b.unshared[r.ID], r.Version)
	}
}

// Share tells Redis that these versions, and those that it did not take
// before, are current: an instance that starts later asks there. What cannot be
// shared now is kept for the next call.
func (b *Bus) Share(ctx context.Context, revs []store.Rev) error {
	for _, r := range revs {
		b.keep(r)
	}
	b.mu.Lock()
	batch := b.unshared
	b.unshared = map[int64]int64{}
	b.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	current := make([]store.Rev, 0, len(batch))
	for id, version := range batch {
		current = append(current, store.Rev{ID: id, Version: version})
	}
	_, err := b.send(ctx, nil, current)
	return err
}

// Forget drops what Redis has yet to be told.
func (b *Bus) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.unshared)
}
