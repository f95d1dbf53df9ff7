package realtime

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"shelfcast/render"
	"shelfcast/store"
)

// BusConfig tunes a Bus. The zero value means the defaults.
type BusConfig struct {
	Channel string        // of Redis pub/sub; "product_updates"
	Timeout time.Duration // of a publish; 300ms
	Silence time.Duration // after which the subscription is tested, and within which the answer must come; 2s
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// A Bus carries Revs between instances, through Redis pub/sub, as
// {"id":42,"version":1795433536820389}. It is the fast path and promises
// nothing: what it loses, the Feed finds.
type Bus struct {
	rdb redis.UniversalClient
	hub *Hub
	cfg BusConfig
	log *slog.Logger

	published, unpublished, received, garbled, gaps prometheus.Counter

	failing atomic.Bool // the subscription is down

	// Guarded by mu.
	mu       sync.Mutex
	unshared map[int64]int64 // product → version that Redis has yet to be told is current
}

// maxUnshared bounds what is kept for a Redis that is away. Beyond it, what is
// current is forgotten here, and found in the database by whoever asks.
const maxUnshared = 100_000

// NewBus makes a Bus that applies to hub what it hears.
func NewBus(rdb redis.UniversalClient, hub *Hub, cfg BusConfig) *Bus {
	cfg.Channel = cmp.Or(cfg.Channel, "product_updates")
	cfg.Timeout = cmp.Or(cfg.Timeout, 300*time.Millisecond)
	cfg.Silence = cmp.Or(cfg.Silence, 2*time.Second)
	counter := counters(cfg.Metrics)
	return &Bus{
		rdb: rdb, hub: hub, cfg: cfg,
		log:         cmp.Or(cfg.Log, slog.Default()),
		published:   counter("shelfcast_bus_published_total", "Versions published to Redis."),
		unpublished: counter("shelfcast_bus_unpublished_total", "Versions that Redis did not take; the feed carries them."),
		received:    counter("shelfcast_bus_received_total", "Versions received from Redis."),
		garbled:     counter("shelfcast_bus_garbled_total", "Messages on the channel that are no versions."),
		gaps:        counter("shelfcast_bus_gaps_total", "Subscriptions made, each of which may have missed messages before it."),
		unshared:    map[int64]int64{},
	}
}

// Publish tells every instance of a version that has been committed, this one
// first and without Redis. There is no error: what Redis does not take is
// counted, and the feeds find it.
func (b *Bus) Publish(ctx context.Context, r store.Rev) {
	b.hub.Apply(r)
	message, err := json.Marshal(r)
	if err != nil {
		panic(err) // two integers
	}
	// The edit is made: that its author has gone is no reason to keep quiet.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.Timeout)
	defer cancel()
	pipe := b.rdb.Pipeline()
	pipe.Publish(ctx, b.cfg.Channel, message)
	render.SetCurrent(ctx, pipe, r)
	if _, err := pipe.Exec(ctx); err != nil {
		b.unpublished.Inc()
		b.log.Warn("publish", "product", r.ID, "version", r.Version, "error", err)
		b.keep(r)
		return
	}
	b.published.Inc()
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
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout+time.Duration(len(batch))*50*time.Microsecond)
	defer cancel()
	pipe := b.rdb.Pipeline()
	for id, version := range batch {
		render.SetCurrent(ctx, pipe, store.Rev{ID: id, Version: version})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		for id, version := range batch {
			b.keep(store.Rev{ID: id, Version: version})
		}
		return err
	}
	return nil
}

// Forget drops what Redis has yet to be told.
func (b *Bus) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.unshared)
}

// Listen applies what other instances publish, until ctx ends. It calls gap
// after each subscription, the first one too: what was published before it has
// been missed.
func (b *Bus) Listen(ctx context.Context, gap func()) error {
	for ctx.Err() == nil {
		err := b.subscribe(ctx, func() {
			if b.failing.Swap(false) {
				b.log.Info("the bus is back")
			}
			b.gaps.Inc()
			gap()
		})
		if ctx.Err() != nil {
			break
		}
		if !b.failing.Swap(true) {
			b.log.Warn("the bus is down; the feed goes on", "error", err)
		}
		select {
		case <-time.After(50*time.Millisecond + rand.N(100*time.Millisecond)):
		case <-ctx.Done():
		}
	}
	return nil
}

var errSilent = errors.New("Redis does not answer on the subscription")

// subscribe subscribes once, and receives until that fails. Redis says nothing
// when it dies without closing the connection, so silence is broken by a ping,
// whose answer must come.
func (b *Bus) subscribe(ctx context.Context, gap func()) error {
	subscription := b.rdb.Subscribe(ctx, b.cfg.Channel)
	defer subscription.Close()
	stop := context.AfterFunc(ctx, func() { subscription.Close() }) // ends a Receive
	defer stop()
	asked := false
	for {
		message, err := subscription.ReceiveTimeout(ctx, b.cfg.Silence)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && !asked {
			asked = true
			if err := subscription.Ping(ctx); err != nil {
				return err
			}
			continue
		} else if ok && timeout.Timeout() {
			return errSilent
		}
		if err != nil {
			return err
		}
		asked = false
		switch m := message.(type) {
		case *redis.Subscription:
			gap()
		case *redis.Message:
			b.receive(m.Payload)
		}
	}
}

func (b *Bus) receive(payload string) {
	var r store.Rev
	if err := json.Unmarshal([]byte(payload), &r); err != nil || r.ID <= 0 || r.Version <= 0 {
		b.garbled.Inc()
		b.log.Debug("a message on the bus is no version", "payload", payload)
		return
	}
	b.received.Inc()
	b.hub.Apply(r)
}
