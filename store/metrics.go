package store

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/attribute"

	"shelfcast/store/tracing"
)

// queries are the names of all queries and transactions, as metrics and traces
// have them.
var queries = []string{
	"answered", "batch", "by_sku", "changed_last", "changed_since", "check_schema", "clock", "create", "create_token",
	"external", "forget_answers", "highest", "history", "install_triggers", "latest", "list", "note_published", "once", "ping",
	"product", "products", "refresh", "replica", "reprice", "revoke_token", "shelf", "shop", "stretches", "token", "tokens",
	"use_token", "vendors", "versions", string(Edited), string(Archived), string(Restored),
}

// measures is how long queries take, and how many fail.
type measures struct {
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec
}

func newMeasures(to prometheus.Registerer) measures {
	m := measures{
		seconds: promauto.With(to).NewHistogramVec(prometheus.HistogramOpts{
			Name:    "shelfcast_store_query_seconds",
			Help:    "How long a query or transaction took, with the wait for a connection and all tries.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}, NativeHistogramBucketFactor: 1.1,
		}, []string{"query"}),
		errors: promauto.With(to).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_store_errors_total",
			Help: "Queries and transactions that the database did not answer, or not in time.",
		}, []string{"query"}),
	}
	for _, name := range queries { // so that the first failure is seen by rate()
		m.errors.WithLabelValues(name)
	}
	return m
}

// begin begins a query of that name, one of queries. End is to be called with how
// it went.
func (m measures) begin(ctx context.Context, name string) (_ context.Context, end func(error)) {
	began := time.Now()
	ctx, span := tracing.Start(ctx, "store "+name)
	if span.IsRecording() {
		span.SetAttributes(attribute.String("db.system.name", "mysql"), attribute.String("db.operation.name", name))
	}
	return ctx, func(err error) {
		m.seconds.WithLabelValues(name).Observe(time.Since(began).Seconds())
		if errors.Is(err, ErrUnavailable) {
			m.errors.WithLabelValues(name).Inc()
			tracing.Fail(span, err)
		}
		span.End()
	}
}
