package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"shelfcast/store"
)

// A Rate is how many calls a key has per period. They may be made all at once, and come back one by one, evenly.
type Rate struct {
	Name  string // of the limit, in metrics and headers: ASCII letters
	Calls int    // 0: no limit
	Per   time.Duration
}

// interval returns how long one call takes to come back.
func (r Rate) interval() time.Duration {
	return max(r.Per/time.Duration(r.Calls), time.Microsecond).Truncate(time.Microsecond)
}

// An Allowance is the result of taking calls. Without a limit only OK is set.
type Allowance struct {
	OK        bool
	Remaining int
	Reset     time.Duration // until all calls are back
	Retry     time.Duration // until one is, if not OK

	local bool // counted by this instance, not in Redis
}

// headers returns RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers) and, if not OK, Retry-After.
func (a Allowance) headers(r Rate) http.Header {
	h := http.Header{}
	if r.Calls <= 0 {
		return h
	}
	// In the window no more than Remaining calls are allowed. With none left it lasts until one is back;
	// otherwise Retry-After would be before its end.
	window := a.Reset
	if a.Remaining == 0 {
		window = max(a.Reset-r.interval()*time.Duration(r.Calls-1), 0)
	}
	h.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", r.Name, r.Calls, ceilSeconds(r.Per)))
	h.Set("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", r.Name, a.Remaining, ceilSeconds(window)))
	if !a.OK {
		h.Set("Retry-After", strconv.FormatInt(max(ceilSeconds(a.Retry), 1), 10))
	}
	return h
}

// ceilSeconds returns d in whole seconds, rounded up.
func ceilSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// redisTimeout is the limit of a round trip to Redis; after it the instance counts locally.
const redisTimeout = 100 * time.Millisecond

// A Limiter counts calls for the whole fleet, in Redis:
//
//	ratelimit:<name of the rate>:<key>   when all of the key's calls are back, in microseconds
//
// behind the shop's own prefix (store.Keys). While Redis fails a circuit breaker keeps calls away from it, and each
// instance counts by itself. Its methods may be called concurrently.
type Limiter struct {
	rdb        redis.UniversalClient
	timeout    time.Duration // of a round trip to Redis
	shop       *store.Shop
	breaker    *gobreaker.CircuitBreaker[Allowance]
	local      *localLimiter
	refused    *prometheus.CounterVec
	localTotal prometheus.Counter
}

// NewLimiter returns a Limiter. rdb must respect the deadline of a context.
func NewLimiter(rdb redis.UniversalClient, shop *store.Shop, metrics prometheus.Registerer, log *slog.Logger) *Limiter {
	log = cmp.Or(log, slog.Default())
	l := &Limiter{
		rdb: rdb, shop: shop, timeout: redisTimeout, local: newLocalLimiter(),
		breaker: gobreaker.NewCircuitBreaker[Allowance](gobreaker.Settings{
			Name:        "ratelimit",
			MaxRequests: 1,
			Timeout:     time.Second,
			ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= 3 },
			OnStateChange: func(_ string, from, to gobreaker.State) {
				log.Warn("the circuit breaker of the rate limits changed state", "from", from.String(), "to", to.String())
			},
			IsSuccessful: func(err error) bool {
				return err == nil || errors.Is(err, context.Canceled) || errors.Is(err, store.ErrShopUnknown)
			},
		}),
		refused: promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_rate_limit_refused_total", Help: "Calls refused by a rate limit.",
		}, []string{"limit"}),
		localTotal: promauto.With(metrics).NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_rate_limit_fallbacks_total",
			Help: "Calls counted by this instance alone because Redis did not answer.",
		}),
	}
	for _, name := range []string{callsRate, attemptsRate, SearchesRate} {
		l.refused.WithLabelValues(name)
	}
	return l
}

// The names of the rates.
const (
	callsRate    = "calls"    // of a caller of the admin API
	attemptsRate = "tries"    // of an address: tokens that were not valid from there before
	SearchesRate = "searches" // of an address: lists and searches of the shop that are not in memory
)

// Take takes n of the key's calls, or none if it has fewer left. It is atomic for the whole fleet: no more calls are
// allowed than the rate has, however many ask at once. n is 1 to r.Calls.
func (l *Limiter) Take(ctx context.Context, r Rate, key string, n int) Allowance {
	if r.Calls <= 0 {
		return Allowance{OK: true}
	}
	a, err := l.breaker.Execute(func() (Allowance, error) { return l.takeShared(ctx, r, key, n) })
	if err != nil {
		l.localTotal.Inc()
		a = l.local.take(r, key, n)
	}
	if !a.OK {
		l.refused.WithLabelValues(r.Name).Inc()
	}
	return a
}

// GiveBack gives back n of the calls that Take has allowed with a, because they turned out not to count. A key never
// has more calls than its rate. If Redis does not answer, the calls come back by themselves, later.
func (l *Limiter) GiveBack(ctx context.Context, r Rate, key string, n int, a Allowance) {
	switch {
	case r.Calls <= 0 || !a.OK || n <= 0:
	case a.local:
		l.local.giveBack(r, key, n)
	default:
		_, _ = l.breaker.Execute(func() (Allowance, error) { return l.takeShared(ctx, r, key, -n) })
	}
}

// takeScript is the generic cell rate algorithm. It stores when all of a key's calls will be back. Each call moves that
// moment further away, at most by what all calls take; a call that is given back moves it nearer, at most to now. If
// Redis's clock was set back, a moment too far away counts as no calls left. All numbers are whole microseconds, which
// Lua's floats represent exactly until the year 2255.
var takeScript = redis.NewScript(`
local each, calls, take = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local back = math.max(tonumber(redis.call('GET', KEYS[1])) or now, now)
back = math.min(back, now + each * calls)
local retry = back + each * take - (now + each * calls)
if retry > 0 then
	return {0, 0, back - now, retry}
end
back = back + each * take
if back > now then
	redis.call('SET', KEYS[1], string.format('%.0f', back), 'PX', math.ceil((back - now) / 1000))
else
	back = now
	redis.call('DEL', KEYS[1])
end
return {1, math.floor((now + each * calls - back) / each), back - now, 0}`)

// takeShared takes calls of the key's in Redis, or gives them back if take is negative.
func (l *Limiter) takeShared(ctx context.Context, r Rate, key string, take int) (Allowance, error) {
	keys, err := l.shop.Keys()
	if err != nil {
		return Allowance{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	numbers, err := takeScript.Run(ctx, l.rdb, []string{keys.Key("ratelimit:" + r.Name + ":" + key)},
		r.interval().Microseconds(), r.Calls, take).Int64Slice()
	if err != nil {
		return Allowance{}, err
	}
	if len(numbers) != 4 {
		return Allowance{}, fmt.Errorf("the script of the rate limits answered %d numbers", len(numbers))
	}
	return Allowance{
		OK: numbers[0] == 1, Remaining: int(numbers[1]),
		Reset: time.Duration(numbers[2]) * time.Microsecond, Retry: time.Duration(numbers[3]) * time.Microsecond,
	}, nil
}
