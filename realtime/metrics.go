package realtime

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	turnedAway, silent, aged, faults          prometheus.Counter
	deliveries, bytes, blocked                prometheus.Counter
	asked, unanswered, vanished, late, polled prometheus.Counter
	resumed                                   prometheus.Counter
	opened, refused, refusals                 *prometheus.CounterVec
	fresh                                     *ageHistogram
	applied                                   prometheus.Histogram
}

func newMetrics(to prometheus.Registerer, sessions func() int) metrics {
	counter := counters(to)
	promauto.With(to).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_sessions", Help: "Sessions open.",
	}, func() float64 { return float64(sessions()) })
	return metrics{
		opened: promauto.With(to).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_sessions_opened_total", Help: "Sessions begun, by wire: websocket, event-stream or odoo.",
		}, []string{"wire"}),
		turnedAway: counter("shelfcast_sessions_turned_away_total", "Connections whose instance began to drain during the handshake."),
		silent:     counter("shelfcast_sessions_silent_total", "Sessions closed because the browser did not answer a ping."),
		aged:       counter("shelfcast_sessions_aged_total", "Sessions closed because of their age, to open anew where there is room."),
		faults:     counter("shelfcast_session_faults_total", "Sessions closed because of a fault of this program."),
		deliveries: counter("shelfcast_deliveries_total", "Versions written to a session."),
		bytes:      counter("shelfcast_session_bytes_total", "Bytes written to sessions."),
		blocked:    counter("shelfcast_session_blocked_total", "Writes after which a session had no room for more: what is newest is sent when it has."),
		asked:      counter("shelfcast_asked_total", "Products whose version was asked of the database because memory did not know it for certain."),
		unanswered: counter("shelfcast_unanswered_total", "Fragments and answers that could not be had, and are tried again."),
		polled:     counter("shelfcast_polls_total", "Times that a page without a session asked what is newer."),
		resumed:    counter("shelfcast_odoo_resumed_total", "Times that a session of the Odoo bus was told, from the database, what it had missed."),
		late:       counter("shelfcast_batch_late_total", "Fragments for which the rest of their batch did not wait any longer."),
		vanished:   counter("shelfcast_vanished_total", "News dropped because the product is not in the database."),
		fresh: newAgeHistogram(to, "shelfcast_time_to_fresh_seconds",
			"From the version, which is when an edit was made, until its frame was written to a session that was there."),
		applied: promauto.With(to).NewHistogram(prometheus.HistogramOpts{
			Name: "shelfcast_time_to_applied_seconds", Buckets: freshness[:],
			Help: "From the version until a page said that it shows it; of a sample of pages, with the way back.",
		}),
		refused: promauto.With(to).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_sessions_refused_total", Help: "Handshakes and polls refused with 503 or 429, by why.",
		}, []string{"why"}),
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
