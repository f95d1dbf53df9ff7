package public

import (
	"cmp"
	"net"
	"net/netip"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"shelfcast/api/httpx"
	"shelfcast/api/problem"
)

// Errors of requests for many fragments while too many are being answered.
var (
	errTooManyAnswers = problem.New(fiber.StatusServiceUnavailable, "too-many-answers",
		"this instance has reached its limit of large responses")
	errTooManyAnswersOfAddress = problem.New(fiber.StatusTooManyRequests, "too-many-answers-of-address",
		"this address has reached its limit of large responses")
)

// Limits of the answers with many fragments that are under way, in total and to one address. Each has at most
// realtime.FrameBytes and one fragment.
const (
	maxAnswers          = 1000
	maxAnswersOfAddress = 100
)

// An answerLimiter counts the answers with many fragments that are under way: from the request until the last byte is
// written, which a browser that does not read delays for up to httpx.WriteTimeout.
type answerLimiter struct {
	limit, addressLimit int
	refused             *prometheus.CounterVec

	// Guarded by mu.
	mu        sync.Mutex
	total     int
	byAddress map[string]int // by httpx.AddressKey; no entry is 0
}

func newAnswerLimiter(most, mostAddress int, metrics prometheus.Registerer) *answerLimiter {
	a := &answerLimiter{
		limit: cmp.Or(most, maxAnswers), addressLimit: cmp.Or(mostAddress, maxAnswersOfAddress), byAddress: map[string]int{},
		refused: promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_responses_refused_total",
			Help: "Polls and requests for several fragments refused because too many responses were in flight, " +
				"by reason: full (of this instance), address_full.",
		}, []string{"reason"}),
	}
	a.refused.WithLabelValues("full")
	a.refused.WithLabelValues("address_full")
	promauto.With(metrics).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_responses_in_flight",
		Help: "Polls and requests for several fragments that are being answered, until the last byte is written.",
	}, func() float64 {
		a.mu.Lock()
		defer a.mu.Unlock()
		return float64(a.total)
	})
	return a
}

// enter counts one more answer to the address, until leave is called, once.
func (a *answerLimiter) enter(from netip.Addr) (leave func(), err error) {
	key := httpx.AddressKey(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.total >= a.limit:
		a.refused.WithLabelValues("full").Inc()
		return nil, errTooManyAnswers
	case a.byAddress[key] >= a.addressLimit:
		a.refused.WithLabelValues("address_full").Inc()
		return nil, errTooManyAnswersOfAddress
	}
	a.total++
	a.byAddress[key]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.total--
		if a.byAddress[key]--; a.byAddress[key] == 0 {
			delete(a.byAddress, key)
		}
	}, nil
}

// answer sends the parts that load returns, which it shares with the cache: a browser that is slow to read costs no
// copy. If there are none, load has answered by itself.
func (p *App) answer(c *fiber.Ctx, from netip.Addr, load func() (net.Buffers, error)) error {
	leave, err := p.answers.enter(from)
	if err != nil {
		return err
	}
	sent := false
	defer func() {
		if !sent { // after a panic, too
			leave()
		}
	}()
	parts, err := load()
	if err != nil || parts == nil {
		return err
	}
	sent = true
	httpx.SendParts(c, parts, leave)
	return nil
}
