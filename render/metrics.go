package render

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	memory, redis                prometheus.Counter
	loads, renders               *prometheus.CounterVec
	shareFailures, lost, deleted prometheus.Counter
	rejected, absent             prometheus.Counter

	taken, waited, overran, hedged prometheus.Counter // leases
}

// newMetrics returns metrics that start at 0 for each of these views: a series that
// starts with its first count shows no increase.
func newMetrics(to prometheus.Registerer, views []View) *metrics {
	metric := promauto.With(to) // registers nowhere if it is nil
	hits := metric.NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_fragment_hits_total", Help: "Fragments found, by tier: memory or redis.",
	}, []string{"tier"})
	leases := metric.NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_fragment_leases_total",
		Help: "Fragment lease attempts, by result: acquired (this instance renders), " +
			"waited (received another instance's fragment), timed_out (gave up waiting and rendered), " +
			"hedged (another instance's fragment arrived during a slow database read).",
	}, []string{"result"})
	m := &metrics{
		taken:   leases.WithLabelValues("acquired"),
		waited:  leases.WithLabelValues("waited"),
		overran: leases.WithLabelValues("timed_out"),
		hedged:  leases.WithLabelValues("hedged"),
		memory:  hits.WithLabelValues("memory"),
		redis:   hits.WithLabelValues("redis"),
		loads: metric.NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_fragment_loads_total", Help: "Products read from the database to render a fragment, by view.",
		}, []string{"view"}),
		renders: metric.NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_fragment_renders_total", Help: "Fragments rendered, by view.",
		}, []string{"view"}),
		shareFailures: metric.NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_fragment_redis_write_failures_total", Help: "Rendered fragments that could not be stored in Redis.",
		}),
		rejected: metric.NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_fragment_loads_rejected_total",
			Help: "Requests for fragments refused because too many products were being loaded.",
		}),
		absent: metric.NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_fragment_not_found_total",
			Help: "Requests for products that do not exist, answered without the database.",
		}),
		deleted: metric.NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_deleted_products_total", Help: "Products whose row was deleted from the database.",
		}),
		lost: metric.NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_lost_versions_total", Help: "Versions that the database has lost, as after a restore.",
		}),
	}
	for _, view := range views {
		m.loads.WithLabelValues(string(view))
		m.renders.WithLabelValues(string(view))
	}
	return m
}
