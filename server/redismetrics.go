package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
)

// redisMetrics measures all commands to Redis. Subscriptions are not included, as
// go-redis has no hook for them.
type redisMetrics struct {
	seconds prometheus.Histogram
	errors  prometheus.Counter
	state   redisState
}

// measureRedis adds the metrics to rdb.
func measureRedis(rdb redis.UniversalClient, to prometheus.Registerer, log *slog.Logger) {
	rdb.AddHook(&redisMetrics{
		seconds: promauto.With(to).NewHistogram(prometheus.HistogramOpts{
			Name:                        "shelfcast_redis_command_duration_seconds",
			Help:                        "Duration of a Redis command or pipeline, without subscriptions.",
			Buckets:                     []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
			NativeHistogramBucketFactor: 1.1,
		}),
		errors: promauto.With(to).NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_redis_errors_total", Help: "Redis commands and pipelines that failed or timed out.",
		}),
		state: redisState{log: log},
	})
	to.MustRegister(redisPool{rdb})
}

func (m *redisMetrics) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *redisMetrics) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmd)
		m.note(began, err)
		m.state.observe(cmd)
		return err
	}
}

func (m *redisMetrics) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmds)
		m.note(began, err)
		m.state.observe(cmds...)
		return err
	}
}

func (m *redisMetrics) note(began time.Time, err error) {
	m.seconds.Observe(time.Since(began).Seconds())
	switch {
	case err == nil, errors.Is(err, redis.Nil), errors.Is(err, context.Canceled):
	case redis.HasErrorPrefix(err, "NOSCRIPT"): // the script is then sent whole
	default:
		m.errors.Inc()
	}
}

// redisPool collects the statistics of the client's connection pools.
type redisPool struct{ rdb redis.UniversalClient }

var (
	redisConnections = prometheus.NewDesc("shelfcast_redis_connections", "Connections to Redis, by state.",
		[]string{"state"}, nil)
	redisWaits = prometheus.NewDesc("shelfcast_redis_pool_waits_total",
		"Times a command waited for a connection.", nil, nil)
	redisWaitSeconds = prometheus.NewDesc("shelfcast_redis_pool_wait_seconds_total",
		"Total time commands waited for a connection.", nil, nil)
	redisPoolTimeouts = prometheus.NewDesc("shelfcast_redis_pool_timeouts_total",
		"Times a command got no connection in time.", nil, nil)
)

// Describe implements prometheus.Collector.
func (p redisPool) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{redisConnections, redisWaits, redisWaitSeconds, redisPoolTimeouts} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (p redisPool) Collect(to chan<- prometheus.Metric) {
	s := p.rdb.PoolStats()
	all := *s
	if s.PipelineStats != nil { // the separate pool of pipelines
		all.TotalConns += s.PipelineStats.TotalConns
		all.IdleConns += s.PipelineStats.IdleConns
		all.WaitCount += s.PipelineStats.WaitCount
		all.WaitDurationNs += s.PipelineStats.WaitDurationNs
		all.Timeouts += s.PipelineStats.Timeouts
	}
	gauge := func(state string, n uint32) {
		to <- prometheus.MustNewConstMetric(redisConnections, prometheus.GaugeValue, float64(n), state)
	}
	gauge("in_use", all.TotalConns-min(all.IdleConns, all.TotalConns))
	gauge("idle", all.IdleConns)
	gauge("subscribed", all.PubSubStats.Active)
	counter := func(d *prometheus.Desc, n float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n)
	}
	counter(redisWaits, float64(all.WaitCount))
	counter(redisWaitSeconds, time.Duration(all.WaitDurationNs).Seconds())
	counter(redisPoolTimeouts, float64(all.Timeouts))
}
