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
	breaker *gobreaker.CircuitBreaker[[]Product] // so that one that hangs costs time once

	measure              measures
	used, behind, failed prometheus.Counter
}

func newReplica(db *sqlx.DB, cfg Config, measure measures) *replica {
	reads := promauto.With(cfg.Metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_replica_reads_total",
		Help: "Rows asked of the replica: used; behind what was wanted, or failed, and so asked of the primary.",
	}, []string{"result"})
	return &replica{
		db: db, timeout: cfg.ReplicaTimeout, measure: measure,
		breaker: gobreaker.NewCircuitBreaker[[]Product](gobreaker.Settings{
			Name: "replica", MaxRequests: 1, Timeout: time.Second,
			ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= 3 },
			IsSuccessful: func(err error) bool {
				return err == nil || errors.Is(err, context.Canceled)
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
	rows, _ := r.ask(ctx, []Rev{want})
	if len(rows) == 0 {
		return Product{}, false, nil
	}
	return rows[0], true, nil
}

// allFromReplica has the products that the replica has at the version wanted or
// a newer one, and what is to be asked of the primary: the others, and those of
// which the current version is wanted.
func (db *DB) allFromReplica(ctx context.Context, wants []Rev) (found []Product, lacking []Rev) {
	if db.replica == nil {
		return nil, wants
	}
	var some []Rev
	for _, want := range wants {
		if want.Version == 0 {
			lacking = append(lacking, want)
		} else {
			some = append(some, want)
		}
	}
	if len(some) == 0 {
		return nil, lacking
	}
	found, behind := db.replica.ask(ctx, some)
	return found, append(lacking, behind...)
}

// ask has those of the products that the replica has in such a version, and
// which it has not.
func (r *replica) ask(ctx context.Context, wants []Rev) (found []Product, lacking []Rev) {
	rows, err := r.breaker.Execute(func() (rows []Product, err error) {
		ctx, end := r.measure.begin(ctx, "replica")
		defer func() { end(err) }()
		ctx, cancel := context.WithTimeout(ctx, r.timeout)
		defer cancel()
		rows, err = productsOf(ctx, r.db, wants)
		return rows, classify(err)
	})
	if err != nil {
		r.failed.Add(float64(len(wants)))
		return nil, wants
	}
	has := make(map[int64]Product, len(rows))
	for _, p := range rows {
		has[p.ID] = p
	}
	for _, want := range wants {
		if p, ok := has[want.ID]; ok && p.Version >= want.Version {
			found = append(found, p)
		} else {
			lacking = append(lacking, want)
		}
	}
	r.used.Add(float64(len(found)))
	r.behind.Add(float64(len(lacking)))
	return found, lacking
}
