package bus

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are those of a Bus that can lose messages.
type metrics struct {
	gaps   prometheus.Counter
	stalls prometheus.Counter
}

// newMetrics registers the metrics with to, unless that is nil. probeAge returns the time
// since a message of this instance to itself last arrived, and an hour if none has.
func newMetrics(to prometheus.Registerer, probeAge func() time.Duration) metrics {
	register := promauto.With(to)
	register.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_bus_probe_age_seconds", Help: "Time since a probe last came back through Redis; 3600 if none has.",
	}, func() float64 { return probeAge().Seconds() })
	return metrics{
		gaps: register.NewCounter(prometheus.CounterOpts{Name: "shelfcast_bus_gaps_total",
			Help: "Subscriptions and resubscriptions to Redis; messages sent before each may have been missed."}),
		stalls: register.NewCounter(prometheus.CounterOpts{Name: "shelfcast_bus_stalls_total",
			Help: "Subscriptions that were replaced because nothing arrived on them any more."}),
	}
}
