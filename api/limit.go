package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"shelfcast/store"
)

// A Rate is how many calls a key has in a span of time. They may be made all at
// once, and come back one by one, evenly.
type Rate struct {
	Name  string // of the limit, as metrics and headers show it: letters of ASCII
	Calls int    // 0: no limit
	Per   time.Duration
}

// each is how long a call takes to come back.
func (r Rate) each() time.Duration {
	return max(r.Per/time.Duration(r.Calls), time.Microsecond).Truncate(time.Microsecond)
}

// An Allowance is what a call leaves. Where there is no limit, OK is all it says.
type Allowance struct {
	OK        bool
	Remaining int
	Reset     time.Duration // until all calls are back
	Retry     time.Duration // until one is, when not OK

	alone bool // it was counted by this instance, and not in Redis
}

// headers are RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers)
// and, when not OK, Retry-After.
func (a Allowance) headers(r Rate) http.Header {
	h := http.Header{}
	if r.Calls <= 0 {
		return h
	}
	// In that time no more than Remaining are to be made. With none left that is
	// until there is one, or Retry-After would be before its end.
	window := a.Reset
	if a.Remaining == 0 {
		window = max(a.Reset-r.each()*time.Duration(r.Calls-1), 0)
	}
	h.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", r.Name, r.Calls, seconds(r.Per)))
	h.Set("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", r.Name, a.Remaining, seconds(window)))
	if !a.OK {
		h.Set("Retry-After", strconv.FormatInt(max(seconds(a.Retry), 1), 10))
	}
	return h
}

// seconds is d in whole seconds, and not less.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// limitTimeout is for a round trip to Redis, before we limit by ourselves.
const limitTimeout = 100 * time.Millisecond

// A Limiter counts calls for the whole fleet, in Redis:
//
//	ratelimit:<name of the rate>:<key>   when all of the key's calls are back, in microseconds
//
// behind the shop's own prefix (store.Keys). A Redis that fails is left alone for a moment, as by the fragment cache, and
// each instance then counts by itself. Its methods may be called concurrently.
type Limiter struct {
	rdb     redis.UniversalClient
	timeout time.Duration // of a round trip to Redis
	shop    *store.Shop
	breaker *gobreaker.CircuitBreaker[Allowance]
	alone   *alone
	refused *prometheus.CounterVec
	locally prometheus.Counter
}

// NewLimiter makes one. rdb has to heed a context's deadline.
func NewLimiter(rdb redis.UniversalClient, shop *store.Shop, metrics prometheus.Registerer, log *slog.Logger) *Limiter {
	log = cmp.Or(log, slog.Default())
	l := &Limiter{
		rdb: rdb, shop: shop, timeout: limitTimeout, alone: newAlone(),
		breaker: gobreaker.NewCircuitBreaker[Allowance](gobreaker.Settings{
			Name:        "ratelimit",
			MaxRequests: 1,
			Timeout:     time.Second,
			ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= 3 },
			OnStateChange: func(_ string, from, to gobreaker.State) {
				log.Warn("the circuit breaker of the rate limits changed", "from", from.String(), "to", to.String())
			},
			IsSuccessful: func(err error) bool {
				return err == nil || errors.Is(err, context.Canceled) || errors.Is(err, store.ErrShopUnknown)
			},
		}),
		refused: promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_ratelimit_refused_total", Help: "Calls that were over a rate limit.",
		}, []string{"limit"}),
		locally: promauto.With(metrics).NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_ratelimit_local_total", Help: "Calls that this instance counted by itself, for want of Redis.",
		}),
	}
	for _, name := range []string{callsRate, triesRate, searchesRate} {
		l.refused.WithLabelValues(name)
	}
	return l
}

// The names of the rates.
const (
	callsRate    = "calls"    // of a caller of the admin API
	triesRate    = "tries"    // of an address, with tokens that are not known from there
	searchesRate = "searches" // of an address: lists and searches of the shop that are not in memory
)

// Take takes a call of the key's, if it has one left. It is one step for the whole
// fleet: however many ask at once, no more are OK than there are calls.
func (l *Limiter) Take(ctx context.Context, r Rate, key string) Allowance {
	if r.Calls <= 0 {
		return Allowance{OK: true}
	}
	a, err := l.breaker.Execute(func() (Allowance, error) { return l.shared(ctx, r, key, 1) })
	if err != nil {
		l.locally.Inc()
		a = l.alone.take(r, key)
	}
	if !a.OK {
		l.refused.WithLabelValues(r.Name).Inc()
	}
	return a
}

// GiveBack gives the key back the call that Take has allowed with a: it turned out
// not to count. A key never has more calls than its rate. If Redis does not
// answer, the call comes back by itself, later.
func (l *Limiter) GiveBack(ctx context.Context, r Rate, key string, a Allowance) {
	switch {
	case r.Calls <= 0 || !a.OK:
	case a.alone:
		l.alone.giveBack(r, key)
	default:
		_, _ = l.breaker.Execute(func() (Allowance, error) { return l.shared(ctx, r, key, -1) })
	}
}

// quota is the generic cell rate algorithm: a key's calls are back at a moment
// that each of them puts off, and that is never further away than all of them
// take. A call that is given back brings that moment nearer, and never behind now.
// What a clock set back has left there counts as none left. The numbers are whole
// microseconds, which Lua's floats have exactly until the year 2255.
var quota = redis.NewScript(`
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

// shared takes calls of the key's in Redis, or gives them back if there are less than none.
func (l *Limiter) shared(ctx context.Context, r Rate, key string, take int) (Allowance, error) {
	keys, err := l.shop.Keys()
	if err != nil {
		return Allowance{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	said, err := quota.Run(ctx, l.rdb, []string{keys.Key("ratelimit:" + r.Name + ":" + key)}, r.each().Microseconds(), r.Calls, take).Int64Slice()
	if err != nil {
		return Allowance{}, err
	}
	if len(said) != 4 {
		return Allowance{}, fmt.Errorf("the script of the rate limits answered %d numbers", len(said))
	}
	return Allowance{
		OK: said[0] == 1, Remaining: int(said[1]),
		Reset: time.Duration(said[2]) * time.Microsecond, Retry: time.Duration(said[3]) * time.Microsecond,
	}, nil
}

// addressKey is the key of a client's address. Who has an IPv6 address has the
// /64 that it is in.
func addressKey(address netip.Addr) string {
	address = address.Unmap()
	if network, err := address.Prefix(64); err == nil && address.Is6() {
		return network.String()
	}
	return address.String()
}
