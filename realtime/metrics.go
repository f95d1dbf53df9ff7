package realtime

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	deliveries, bytes, blocked                prometheus.Counter
	asked, unanswered, vanished, late, polled prometheus.Counter
	resumed, faults                           prometheus.Counter
	opened, refusals                          *prometheus.CounterVec
	refused                                   map[error]prometheus.Counter
	closed                                    [len(endings)]prometheus.Counter
	folded, replaced, passedOver              prometheus.Counter // what is coalesced
	fresh                                     *ageHistogram
	applied                                   prometheus.Histogram
}

func newMetrics(to prometheus.Registerer, h *Hub) metrics {
	counter := counters(to)
	gauges(to, h)
	opened := labelled(to, "shelfcast_sessions_opened_total", "Sessions begun, by wire.", "wire", WebSocket.String(), EventStream.String(), Odoo.String())
	refused := labelled(to, "shelfcast_sessions_refused_total", "Handshakes and polls refused, by reason.", "reason", "draining", "full", "rate", "address", "address_rate")
	closed := labelled(to, "shelfcast_sessions_closed_total", "Sessions ended, by reason.", "reason", endings[:]...)
	coalesced := labelled(to, "shelfcast_coalesced_total",
		"Versions passed over because a newer one took their place: before their fragment was had, before the round, or at a session without room.",
		"stage", "fragment", "round", "session")
	m := metrics{
		opened: opened,
		refused: map[error]prometheus.Counter{
			ErrDraining: refused.WithLabelValues("draining"), ErrFull: refused.WithLabelValues("full"),
			ErrRate: refused.WithLabelValues("rate"), ErrAddress: refused.WithLabelValues("address"),
			ErrHurry: refused.WithLabelValues("address_rate"),
		},
		folded:     coalesced.WithLabelValues("fragment"),
		replaced:   coalesced.WithLabelValues("round"),
		passedOver: coalesced.WithLabelValues("session"),
		faults:     counter("shelfcast_faults_total", "Faults of this program that were caught."),
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
			Name: "shelfcast_time_to_applied_seconds", Buckets: freshness[:], NativeHistogramBucketFactor: 1.1,
			Help: "From the version until a page said that it shows it; of a sample of pages, with the way back.",
		}),
		refusals: labelled(to, "shelfcast_session_errors_total", "Errors said to a browser, by code.", "code",
			"bad_json", "bad_product", "bad_utf8", "binary", "busy", "protocol", "too_large", "too_many_products", "too_many_unknown", "unknown_product", "unknown_view", "unread"),
	}
	for why, name := range endings {
		m.closed[why] = closed.WithLabelValues(name)
	}
	return m
}

// gauges say what there is when they are asked.
func gauges(to prometheus.Registerer, h *Hub) {
	gauge := func(name, help string, now func() int) {
		promauto.With(to).NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(now()) })
	}
	gauge("shelfcast_sessions", "Sessions open.", h.Sessions)
	gauge("shelfcast_session_budget", "Sessions that there may be at most.", func() int { return h.cfg.MaxSessions })
	gauge("shelfcast_sessions_slow", "Sessions that have not taken what was last written to them.", func() (n int) {
		for i := range h.slow {
			n += int(h.slow[i].Load())
		}
		return n
	})
	gauge("shelfcast_watched_products", "Products that a session here watches.", func() int {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.topics)
	})
	gauge("shelfcast_draining", "1 while sessions are closed to stop.", func() int {
		if h.Admits() == ErrDraining {
			return 1
		}
		return 0
	})
}

// labelled makes a counter with one label, whose values are there from the start:
// or else the first of each would be missed by rate().
func labelled(to prometheus.Registerer, name, help, label string, values ...string) *prometheus.CounterVec {
	v := promauto.With(to).NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	for _, value := range values {
		v.WithLabelValues(value)
	}
	return v
}

// An ending is why a session ended.
type ending uint8

const (
	endLeft    ending = iota // the browser has closed it, or the connection broke
	endSilent                // no answer to a ping
	endAged                  // Config.MaxAge
	endRestart               // this instance is about to stop
	endRefused               // for what the browser has sent
	endFault                 // of this program
	endStalled               // its machine took nothing of what was written for too long
)

var endings = [...]string{"left", "silent", "aged", "restart", "refused", "fault", "stalled"}

// counters makes counters that are registered with to, if it is not nil.
func counters(to prometheus.Registerer) func(name, help string) prometheus.Counter {
	return func(name, help string) prometheus.Counter {
		return promauto.With(to).NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
}
