package serve

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
)

// redisMetrics are of all that goes to Redis, but for what comes by subscriptions,
// which go-redis has no hook for.
type redisMetrics struct {
	seconds prometheus.Histogram
	errors  prometheus.Counter
}

// measureRedis counts what rdb does from now on.
func measureRedis(rdb redis.UniversalClient, to prometheus.Registerer) {
	rdb.AddHook(&redisMetrics{
		seconds: promauto.With(to).NewHistogram(prometheus.HistogramOpts{
			Name: "shelfcast_redis_command_seconds", Help: "How long a command or a pipeline of Redis took, without subscriptions.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}, NativeHistogramBucketFactor: 1.1,
		}),
		errors: promauto.With(to).NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_redis_errors_total", Help: "Commands and pipelines that Redis did not answer, or not in time, or with an error.",
		}),
	})
	to.MustRegister(redisPool{rdb})
}

func (m *redisMetrics) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *redisMetrics) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmd)
		m.note(began, err)
		return err
	}
}

func (m *redisMetrics) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmds)
		m.note(began, err)
		return err
	}
}

func (m *redisMetrics) note(began time.Time, err error) {
	m.seconds.Observe(time.Since(began).Seconds())
	switch {
	case err == nil, errors.Is(err, redis.Nil), errors.Is(err, context.Canceled):
	case redis.HasErrorPrefix(err, "NOSCRIPT"): // it is sent whole then
	default:
		m.errors.Inc()
	}
}

// redisPool says what the client's connections do, when it is asked.
type redisPool struct{ rdb redis.UniversalClient }

var (
	redisConnections  = prometheus.NewDesc("shelfcast_redis_connections", "Connections to Redis, by state.", []string{"state"}, nil)
	redisWaits        = prometheus.NewDesc("shelfcast_redis_pool_waits_total", "Times that a command waited for a connection.", nil, nil)
	redisWaitSeconds  = prometheus.NewDesc("shelfcast_redis_pool_wait_seconds_total", "How long commands waited for a connection.", nil, nil)
	redisPoolTimeouts = prometheus.NewDesc("shelfcast_redis_pool_timeouts_total", "Times that no connection came in time.", nil, nil)
)

// Describe and Collect make it a prometheus.Collector.
func (p redisPool) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{redisConnections, redisWaits, redisWaitSeconds, redisPoolTimeouts} {
		to <- d
	}
}

// Collect: see Describe.
func (p redisPool) Collect(to chan<- prometheus.Metric) {
	s := p.rdb.PoolStats()
	all := *s
	if s.PipelineStats != nil { // those that pipelines have to themselves
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
