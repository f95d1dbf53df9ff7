package realtime

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	deliveries, bytes, blocked, polls, catchUps, panics                    prometheus.Counter
	versionChecks, versionWaits, loadFailures, missingProducts, stragglers prometheus.Counter
	opened, refusals                                                       *prometheus.CounterVec
	refused                                                                map[error]prometheus.Counter
	closed                                                                 [len(closeReasons)]prometheus.Counter
	coalescedLoad, coalescedFlush, coalescedSession                        prometheus.Counter // by stage
	propagation                                                            *latencyHistogram
	applied                                                                prometheus.Histogram
}

func newMetrics(to prometheus.Registerer, h *Hub) metrics {
	counter := counters(to)
	gauges(to, h)
	opened := labelled(to, "shelfcast_sessions_opened_total", "Sessions opened, by protocol.", "protocol",
		protocolNames()...)
	refused := labelled(to, "shelfcast_sessions_refused_total", "Handshakes and polls refused, by reason.", "reason",
		"draining", "full", "rate", "address_full", "address_rate", "origin")
	closed := labelled(to, "shelfcast_sessions_closed_total", "Sessions closed, by reason.", "reason", closeReasons[:]...)
	coalesced := labelled(to, "shelfcast_coalesced_total",
		"Versions skipped because a newer one replaced them, by stage: "+
			"while the fragment was loaded, before the flush, or at a slow session.",
		"stage", "load", "flush", "session")
	m := metrics{
		opened: opened,
		refused: map[error]prometheus.Counter{
			ErrDraining: refused.WithLabelValues("draining"), ErrFull: refused.WithLabelValues("full"),
			ErrRate: refused.WithLabelValues("rate"), ErrAddressFull: refused.WithLabelValues("address_full"),
			ErrAddressRate: refused.WithLabelValues("address_rate"), ErrOrigin: refused.WithLabelValues("origin"),
		},
		coalescedLoad:    coalesced.WithLabelValues("load"),
		coalescedFlush:   coalesced.WithLabelValues("flush"),
		coalescedSession: coalesced.WithLabelValues("session"),
		panics:           counter("shelfcast_recovered_panics_total", "Panics recovered. Each is a bug."),
		deliveries:       counter("shelfcast_deliveries_total", "Product versions written to sessions."),
		bytes:            counter("shelfcast_session_sent_bytes_total", "Bytes written to sessions."),
		blocked: counter("shelfcast_session_writes_blocked_total",
			"Writes that filled a session's send buffer. The newest versions follow when there is room."),
		versionChecks: counter("shelfcast_version_checks_total",
			"Products whose current version was read from the database "+
				"because the version in memory was not known to be current."),
		loadFailures: counter("shelfcast_load_failures_total",
			"Fragments and versions that failed to load and are retried."),
		polls: counter("shelfcast_polls_total", "Polls by pages without a session."),
		catchUps: counter("shelfcast_odoo_catch_ups_total",
			"Odoo sessions that were sent, from the database, the changes they had missed."),
		stragglers: counter("shelfcast_batch_stragglers_total",
			"Fragments delivered after their batch because loading took too long."),
		versionWaits: counter("shelfcast_version_waits_total",
			"Lookups of announced versions that are not in the database yet."),
		missingProducts: counter("shelfcast_missing_products_total",
			"Announcements dropped because the product is not in the database."),
		propagation: newLatencyHistogram(to, "shelfcast_propagation_latency_seconds",
			"Time from an edit (its version) until its frame was written to a session that was already open."),
		applied: promauto.With(to).NewHistogram(prometheus.HistogramOpts{
			Name: "shelfcast_applied_latency_seconds", Buckets: latencyBounds[:], NativeHistogramBucketFactor: 1.1,
			Help: "Time from an edit (its version) until a page confirmed that it shows it. Sampled; includes the way back.",
		}),
		refusals: labelled(to, "shelfcast_session_errors_total", "Errors sent to browsers, by code.", "code",
			"bad_json", "bad_product", "bad_utf8", "binary", "busy", "protocol", "too_large", "too_many_products",
			"too_many_unknown", "unknown_product", "unknown_view", "unread"),
	}
	for why, name := range closeReasons {
		m.closed[why] = closed.WithLabelValues(name)
	}
	return m
}

// gauges registers gauges that are computed when they are scraped.
func gauges(to prometheus.Registerer, h *Hub) {
	gauge := func(name, help string, now func() int) {
		promauto.With(to).NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(now()) })
	}
	gauge("shelfcast_sessions", "Open sessions.", h.Sessions)
	gauge("shelfcast_sessions_limit", "Maximum number of sessions (--max-sessions).",
		func() int { return h.cfg.MaxSessions })
	gauge("shelfcast_sessions_slow", "Sessions that have not accepted the last write yet.", func() (n int) {
		for i := range h.slow {
			n += int(h.slow[i].Load())
		}
		return n
	})
	gauge("shelfcast_watched_products", "Products watched by at least one session of this instance.", func() int {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.topics)
	})
	gauge("shelfcast_at_capacity",
		"1 while the instance has --max-sessions sessions and refuses handshakes.", func() int {
			if h.Admits() == ErrFull {
				return 1
			}
			return 0
		})
	promauto.With(to).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_clock_offset_seconds",
		Help: "The database's clock minus this machine's, at the last read of the feed.",
	}, func() float64 { return h.firehose.off().Seconds() })
	gauge("shelfcast_draining", "1 while the instance closes its sessions to shut down.", func() int {
		if h.Admits() == ErrDraining {
			return 1
		}
		return 0
	})
}

// labelled returns a counter with one label. It initialises each value to 0, because otherwise
// rate() misses the first increment.
func labelled(to prometheus.Registerer, name, help, label string, values ...string) *prometheus.CounterVec {
	v := promauto.With(to).NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	for _, value := range values {
		v.WithLabelValues(value)
	}
	return v
}

// A closeReason is why a session ended.
type closeReason uint8

const (
	closedByClient closeReason = iota // or the connection broke
	pingTimedOut                      // no answer to a ping
	reachedMaxAge                     // Config.MaxAge
	instanceStops                     // the instance is shutting down
	refusedInput                      // the browser sent something invalid
	panicked                          // a bug in this program
	clientStalled                     // Config.StallTimeout
)

var closeReasons = [...]string{"client_close", "ping_timeout", "max_age", "shutdown", "invalid_input", "panic",
	"stalled"}

// counters returns a function that makes counters, which are registered with to unless that is
// nil.
func counters(to prometheus.Registerer) func(name, help string) prometheus.Counter {
	return func(name, help string) prometheus.Counter {
		return promauto.With(to).NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
}
