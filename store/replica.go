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

// A replica serves reads of rows to render. If it is behind or fails, the row is read from
// the primary: that takes longer, but never returns an older version.
type replica struct {
	db      *sqlx.DB
	timeout time.Duration
	breaker *gobreaker.CircuitBreaker[[]Product] // limits the time spent waiting for a replica that hangs

	measure              measures
	used, behind, failed prometheus.Counter
}

func newReplica(db *sqlx.DB, cfg Config, measure measures) *replica {
	reads := promauto.With(cfg.Metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_replica_reads_total",
		Help: "Rows read from the replica, by result: used, " +
			"or read from the primary because the replica was behind or failed.",
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

// productFromReplica returns the product at the wanted version or a newer one, if there is
// a replica and it has that. For version 0 it first reads the current version from the
// primary's index.
func (db *DB) productFromReplica(ctx context.Context, want Rev) (p Product, found bool, err error) {
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
	rows, _ := r.read(ctx, []Rev{want})
	if len(rows) == 0 {
		return Product{}, false, nil
	}
	return rows[0], true, nil
}

// productsFromReplica returns the products that the replica has at the wanted version or a
// newer one, and missing: those to read from the primary, which include all with version 0.
func (db *DB) productsFromReplica(ctx context.Context, wants []Rev) (found []Product, missing []Rev) {
	if db.replica == nil {
		return nil, wants
	}
	var some []Rev
	for _, want := range wants {
		if want.Version == 0 {
			missing = append(missing, want)
		} else {
			some = append(some, want)
		}
	}
	if len(some) == 0 {
		return nil, missing
	}
	found, behind := db.replica.read(ctx, some)
	return found, append(missing, behind...)
}

// read returns the products that the replica has at the wanted version or a newer one, and
// those that it does not.
func (r *replica) read(ctx context.Context, wants []Rev) (found []Product, missing []Rev) {
	rows, err := r.breaker.Execute(func() (rows []Product, err error) {
		ctx, end := r.measure.begin(ctx, "replica")
		defer func() { end(err) }()
		ctx, cancel := context.WithTimeout(ctx, r.timeout)
		defer cancel()
		rows, err = productsOf(ctx, r.db, wants)
		r.measure.countRefusal(err)
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
			missing = append(missing, want)
		}
	}
	r.used.Add(float64(len(found)))
	r.behind.Add(float64(len(missing)))
	return found, missing
}
