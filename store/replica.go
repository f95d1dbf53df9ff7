package store

import (
	"context"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/sony/gobreaker/v2"
)

// A replica takes off the primary the rows that are read to be rendered. It may
// be behind, and it may fail: it costs time then, and never freshness.
type replica struct {
	db      *sqlx.DB
	timeout time.Duration
	breaker *gobreaker.CircuitBreaker[Product] // so that one that hangs costs time once

	used, behind, failed prometheus.Counter
}

func newReplica(db *sqlx.DB, cfg Config) *replica {
	reads := promauto.With(cfg.Metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_replica_reads_total",
		Help: "Rows asked of the replica: used; behind what was wanted, or failed, and so asked of the primary.",
	}, []string{"result"})
	return &replica{
		db: db, timeout: cfg.ReplicaTimeout,
		breaker: gobreaker.NewCircuitBreaker[Product](gobreaker.Settings{
			Name: "replica", MaxRequests: 1, Timeout: time.Second,
			ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= 3 },
			IsSuccessful: func(err error) bool {
				return err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, context.Canceled)
			},
		}),
		used:   reads.WithLabelValues("used"),
		behind: reads.WithLabelValues("behind"),
		failed: reads.WithLabelValues("failed"),
	}
}

// fromReplica is the product at the version wanted or a newer one, if there is a
// replica and it has that. What is current, if nobody says, the primary has to
// say, by a look into its index.
func (db *DB) fromReplica(ctx context.Context, want Rev) (p Product, found bool, err error) {
	r := db.replica
	if r == nil {
		return Product{}, false, nil
	}
	if want.Version == 0 {
		current, err := db.Versions(ctx, []int64{want.ID})
		if err == nil && len(current) == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return Product{}, false, err
		}
		want = current[0]
	}
	p, err = r.breaker.Execute(func() (Product, error) {
		ctx, cancel := context.WithTimeout(ctx, r.timeout)
		defer cancel()
		p, err := product(ctx, r.db, want.ID)
		return p, classify(err)
	})
	switch {
	case errors.Is(err, ErrNotFound), err == nil && p.Version < want.Version:
		r.behind.Inc()
		return Product{}, false, nil
	case err != nil:
		r.failed.Inc()
		return Product{}, false, nil
	}
	r.used.Inc()
	return p, true, nil
}
