package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"shelfcast/store"
)

// RedisConfig configures a Redis. The zero value means the defaults.
type RedisConfig struct {
	Timeout time.Duration // of publishing a probe; 300ms
	Probe   time.Duration // between probes, which are published and have to come back; 1s
	Silence time.Duration // on the subscription, after which it is made anew; 3s
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// Redis is a Bus through Redis pub/sub. In a Redis Cluster pub/sub is sharded, so that a
// message goes to one shard and not to all nodes. One instance may listen to it.
type Redis struct {
	rdb     redis.UniversalClient
	shop    *store.Shop
	cfg     RedisConfig
	log     *slog.Logger
	sharded bool

	subscribed chan struct{} // wakes probe; capacity 1; never closed
	metrics    metrics

	failing  atomic.Bool  // the subscription is down
	lastBack atomic.Int64 // when a probe last came back, Unix nanoseconds; 0: none yet
}

// NewRedis returns a Redis for the shop's channels.
func NewRedis(rdb redis.UniversalClient, shop *store.Shop, cfg RedisConfig) *Redis {
	cfg.Timeout = cmp.Or(cfg.Timeout, 300*time.Millisecond)
	cfg.Probe = cmp.Or(cfg.Probe, time.Second)
	cfg.Silence = cmp.Or(cfg.Silence, 3*time.Second)
	_, sharded := rdb.(*redis.ClusterClient)
	b := &Redis{
		rdb: rdb, shop: shop, cfg: cfg, sharded: sharded,
		log:        cmp.Or(cfg.Log, slog.Default()),
		subscribed: make(chan struct{}, 1),
	}
	b.metrics = newMetrics(cfg.Metrics, b.age)
	return b
}

// Publish implements Bus. Errors: store.ErrShopUnknown, and Redis's.
func (b *Redis) Publish(ctx context.Context, to Channel, message []byte) (instances int, err error) {
	keys, err := b.shop.Keys()
	if err != nil {
		return 0, err
	}
	publish := b.rdb.Publish
	if b.sharded {
		publish = b.rdb.SPublish
	}
	received, err := publish(ctx, redisName(keys, to), message).Result()
	return int(received), err
}

// redisName returns the name of a channel in Redis.
func redisName(of store.Keys, c Channel) string {
	if c == Changes {
		return of.Channel()
	}
	return of.SiblingChannel(string(c))
}

// Listen implements Bus. It waits for the shop's id first.
func (b *Redis) Listen(ctx context.Context, l Listener) error {
	select {
	case <-b.shop.Known():
	case <-ctx.Done():
		return nil
	}
	var g errgroup.Group
	g.Go(func() error { return b.probe(ctx, Inbox(l.Instance)) })
	pace := backoff.NewExponentialBackOff() // for a Redis that refuses until its configuration is changed
	pace.InitialInterval, pace.MaxInterval = 250*time.Millisecond, 10*time.Second
	gap := l.Gap
	l.Gap = func() {
		pace.Reset()
		b.metrics.gaps.Inc()
		gap()
	}
	for ctx.Err() == nil {
		err := b.subscribe(ctx, l)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errSilent) {
			b.metrics.stalls.Inc()
		}
		if !b.failing.Swap(true) {
			b.log.Warn("the subscription to Redis failed; the feed delivers changes meanwhile", "error", err)
		}
		if cluster, ok := b.rdb.(*redis.ClusterClient); ok {
			// Otherwise the client may ask a node that is gone for half a minute.
			cluster.ReloadState(ctx)
		}
		pause := 50*time.Millisecond + rand.N(100*time.Millisecond)
		if refuses(err) {
			pause = pace.NextBackOff()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return g.Wait()
}

// refuses reports whether Redis does not allow this user to subscribe. Errors while it
// starts or fails over are different.
func refuses(err error) bool {
	for _, prefix := range []string{"NOPERM", "NOAUTH", "WRONGPASS", "ERR"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

var errSilent = errors.New("nothing arrives on the subscription, not even this instance's probes")

// subscribe subscribes once, and receives until that fails or nothing arrives for
// RedisConfig.Silence.
func (b *Redis) subscribe(ctx context.Context, l Listener) error {
	keys, err := b.shop.Keys()
	if err != nil {
		return err
	}
	of := map[string]Channel{} // by their name in Redis
	var names []string
	for _, c := range channels(l.Instance) {
		names = append(names, redisName(keys, c))
		of[redisName(keys, c)] = c
	}
	subscribe := b.rdb.Subscribe
	if b.sharded {
		subscribe = b.rdb.SSubscribe
	}
	subscription := subscribe(ctx, names...)
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
			if of[m.Channel] == Changes {
				l.Gap()
				break
			}
			select {
			case b.subscribed <- struct{}{}:
			default: // a probe is about to be published
			}
		case *redis.Message:
			if from := of[m.Channel]; from == Inbox(l.Instance) && m.Payload == ping {
				b.probeReturned()
			} else {
				l.Deliver(from, m.Payload)
			}
		}
	}
}

// ping is the message of a probe.
const ping = "?"

// probe publishes probes the way changes are published. An open connection, and even an
// answered PING, prove little: Redis may hang, or may no longer be the primary that instances
// publish to.
func (b *Redis) probe(ctx context.Context, inbox Channel) error {
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
		if _, err := b.Publish(limited, inbox, []byte(ping)); err != nil {
			b.log.Debug("publishing a probe failed", "error", err)
		}
		cancel()
	}
}

func (b *Redis) probeReturned() {
	b.lastBack.Store(time.Now().UnixNano())
	if b.failing.Swap(false) {
		b.log.Info("the subscription to Redis works again")
	}
}

// age returns how long ago a probe last came back, and an hour if none has.
func (b *Redis) age() time.Duration {
	last := b.lastBack.Load()
	if last == 0 {
		return time.Hour
	}
	return time.Since(time.Unix(0, last))
}

var errProbeLost = errors.New("published probes are not received; edits arrive through the database instead")

// Check implements Bus. It looks at when the last probe came back. While it returns an error,
// changes arrive through the database, about a second later.
func (b *Redis) Check(context.Context) error {
	if b.age() < b.cfg.Silence+b.cfg.Probe {
		return nil
	}
	return errProbeLost
}

var _ Bus = (*Redis)(nil)
