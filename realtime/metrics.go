package realtime

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	opened, turnedAway, silent, faults prometheus.Counter
	deliveries, bytes                  prometheus.Counter
	unanswered, vanished               prometheus.Counter
	refusals                           *prometheus.CounterVec
}

func newMetrics(to prometheus.Registerer, sessions func() int) metrics {
	counter := counters(to)
	promauto.With(to).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_sessions", Help: "Sessions open.",
	}, func() float64 { return float64(sessions()) })
	return metrics{
		opened:     counter("shelfcast_sessions_opened_total", "Sessions begun."),
		turnedAway: counter("shelfcast_sessions_turned_away_total", "Connections that found the instance full or draining after the handshake."),
		silent:     counter("shelfcast_sessions_silent_total", "Sessions closed because the browser did not answer a ping."),
		faults:     counter("shelfcast_session_faults_total", "Sessions closed because of a fault of this program."),
		deliveries: counter("shelfcast_deliveries_total", "Versions written to a session."),
		bytes:      counter("shelfcast_session_bytes_total", "Bytes written to sessions."),
		unanswered: counter("shelfcast_unanswered_total", "Questions of a session that could not be answered at the first try."),
		vanished:   counter("shelfcast_vanished_total", "Deliveries dropped because the product is not in the database."),
		refusals: promauto.With(to).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_refusals_total", Help: "Errors said to a browser, by code.",
		}, []string{"code"}),
	}
}

// counters makes counters that are registered with to, if it is not nil.
func counters(to prometheus.Registerer) func(name, help string) prometheus.Counter {
	return func(name, help string) prometheus.Counter {
		return promauto.With(to).NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
}
