// Package coalesce turns the lookups of many concurrent callers into few database
// queries.
package coalesce

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/sony/gobreaker/v2"

	"shelfcast/store"
)

// A Loader loads values by key. Callers that wait at the same time share one query.
//
// Queries do not overlap, and start at least Pace apart: however many callers there
// are, the database sees at most second/Pace queries a second. After a query has
// failed, Load fails immediately for 200 ms; then one query tries again. Its methods
// may be called concurrently.
type Loader[K comparable, V any] struct {
	cfg     Config[K, V]
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	running chan struct{} // a semaphore of one: holding it allows a query; never closed

	answered, failed, skipped prometheus.Counter

	// Guarded by running.
	lastStart time.Time // when the last query started

	// Guarded by mu.
	mu   sync.Mutex
	next *query[K, V] // has not started, so callers can still join it; nil: none
}

// Config says what a Loader reads, and how often. All fields but Metrics are required.
type Config[K comparable, V any] struct {
	// Read makes one query. It leaves out keys that do not exist.
	Read    func(ctx context.Context, keys []K) (map[K]V, error)
	Pace    time.Duration         // least time between the starts of two queries
	Timeout time.Duration         // of one query
	Name    string                // of the counter of queries, by result: answered, failed, skipped
	Help    string                // of that counter
	Metrics prometheus.Registerer // nil: not registered
}

// maxKeys is the most keys that callers put together into one query.
const maxKeys = 1000

// A query is shared by all callers that joined before it started.
type query[K comparable, V any] struct {
	keys map[K]struct{}
	done chan struct{} // closed when the result is there

	// Written before done is closed.
	values map[K]V
	err    error
}

// New returns a Loader.
func New[K comparable, V any](cfg Config[K, V]) *Loader[K, V] {
	counts := prometheus.CounterOpts{Name: cfg.Name, Help: cfg.Help}
	queries := promauto.With(cfg.Metrics).NewCounterVec(counts, []string{"result"})
	return &Loader[K, V]{
		cfg: cfg, running: make(chan struct{}, 1),
		breaker: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Name: cfg.Name, MaxRequests: 1, Timeout: 200 * time.Millisecond,
			ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures > 0 },
		}),
		answered: queries.WithLabelValues("answered"),
		failed:   queries.WithLabelValues("failed"),
		skipped:  queries.WithLabelValues("skipped"),
	}
}

// Load returns the values of keys, read after the call; keys that do not exist are
// missing. The map is shared with other callers and may have more keys: do not
// change it. Errors: those of Read, store.ErrUnavailable just after a query failed,
// and ctx's.
func (l *Loader[K, V]) Load(ctx context.Context, keys ...K) (map[K]V, error) {
	l.mu.Lock()
	q := l.next
	if q != nil && len(q.keys)+len(keys) <= maxKeys {
		q.add(keys)
		l.mu.Unlock()
		select {
		case <-q.done:
			return q.values, q.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	report, err := l.breaker.Allow()
	if err != nil {
		l.mu.Unlock()
		l.skipped.Inc()
		return nil, fmt.Errorf("not queried, because the query before failed just now: %w", store.ErrUnavailable)
	}
	q = &query[K, V]{keys: make(map[K]struct{}, len(keys)), done: make(chan struct{})}
	q.add(keys)
	l.next = q
	l.mu.Unlock()
	l.run(ctx, q)
	report(q.err)
	return q.values, q.err
}

func (q *query[K, V]) add(keys []K) {
	for _, key := range keys {
		q.keys[key] = struct{}{}
	}
}

// run makes the query once it may start. It goes on if ctx ends, because other
// callers wait for the result.
func (l *Loader[K, V]) run(ctx context.Context, q *query[K, V]) {
	ctx = context.WithoutCancel(ctx)
	defer close(q.done)
	l.running <- struct{}{}
	defer func() { <-l.running }()
	<-time.After(l.cfg.Pace - time.Since(l.lastStart))
	l.lastStart = time.Now()
	l.mu.Lock()
	if l.next == q { // callers from now on need a query that starts later
		l.next = nil
	}
	keys := make([]K, 0, len(q.keys))
	for key := range q.keys {
		keys = append(keys, key)
	}
	l.mu.Unlock()
	ctx, stop := context.WithTimeout(ctx, l.cfg.Timeout)
	defer stop()
	if q.values, q.err = l.cfg.Read(ctx, keys); q.err != nil {
		l.failed.Inc()
		return
	}
	l.answered.Inc()
}
