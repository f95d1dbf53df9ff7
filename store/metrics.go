package store

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/attribute"

	"shelfcast/internal/tracing"
)

// queryNames are the names of all queries and transactions in metrics and
// traces.
var queryNames = []string{
	"stored_response", "batch", "product_by_sku", "recent_changes", "changed_since", "check_schema",
	"clock", "create", "create_token",
	"remote_writers", "external_ids", "delete_stored_responses", "max_id", "history",
	"latest_revs", "list", "mark_published", "idempotent", "ping",
	"product", "products", "refresh", "replica", "reprice", "revoke_token",
	"storefront", "shop_id", "id_ranges", "token", "tokens",
	"use_token", "vendors", "versions", "writers", string(Edited), string(Archived), string(Restored),
}

// knownRefusals are error numbers that servers are known to return in bad states. They are
// pre-initialised to 0; otherwise rate() misses the first increment.
var knownRefusals = []uint16{
	1020, 1021, 1040, 1044, 1045, 1047, 1053, 1114, 1142, 1153, 1203, 1205, 1213, 1226, 1290, 1449, 1792, 1836,
	1927, 1969, 3024, 3100, 3101, 9001,
}

// measures are the metrics of queries.
type measures struct {
	seconds  *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	refusals *prometheus.CounterVec
}

func newMeasures(to prometheus.Registerer) measures {
	m := measures{
		seconds: promauto.With(to).NewHistogramVec(prometheus.HistogramOpts{
			Name: "shelfcast_store_query_duration_seconds", NativeHistogramBucketFactor: 1.1,
			Help:    "Duration of a query or transaction, including the wait for a connection and all retries.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"query"}),
		errors: promauto.With(to).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_store_errors_total",
			Help: "Queries and transactions that failed because the database did not answer, or not in time.",
		}, []string{"query"}),
		refusals: promauto.With(to).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_store_server_errors_total",
			Help: "Errors returned by the database server that the data did not cause, by error number.",
		}, []string{"number"}),
	}
	for _, n := range knownRefusals {
		m.refusals.WithLabelValues(strconv.Itoa(int(n)))
	}
	for _, name := range queryNames { // as knownRefusals
		m.errors.WithLabelValues(name)
	}
	return m
}

// countRefusal counts err if the cause is the server's state and not the data.
func (m measures) countRefusal(err error) {
	if n := number(err); n != 0 && !slices.Contains(dataFaults, n) {
		m.refusals.WithLabelValues(strconv.Itoa(int(n))).Inc()
	}
}

// begin starts the measurement of a query; name is one of queryNames. Call end with its
// error.
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
