package admin

import (
	"net"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"shelfcast/api/auth"
	"shelfcast/api/httpx"
	"shelfcast/api/problem"
)

// Limits of the memory that answers take. An answer is held until its last byte is written, which a slow reader delays
// for up to httpx.WriteTimeout.
const (
	maxSmallAnswer   = 64 << 10 // bytes; smaller answers are not counted
	maxLargeAnswers  = 64 << 20 // bytes of all answers that are being sent
	maxCallerAnswers = 16 << 20 // bytes of those to one token, or to one address without a token
)

// errTooManyLargeAnswers is the answer to a request for a large answer while others take all the memory for them.
var errTooManyLargeAnswers = problem.New(fiber.StatusServiceUnavailable,
	"too-many-large-answers", "this instance has reached its memory limit for large responses")

// largeAnswers limits the memory of the answers that are being sent.
type largeAnswers struct {
	*httpx.Budget
	proxies []httpx.Network
	refused prometheus.Counter
}

func newLargeAnswers(proxies []httpx.Network, metrics prometheus.Registerer) *largeAnswers {
	return &largeAnswers{
		Budget: httpx.NewBudget(maxLargeAnswers, maxCallerAnswers), proxies: proxies,
		refused: promauto.With(metrics).NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_admin_responses_refused_total",
			Help: "Large responses of the admin app refused because those in flight use up their memory limit.",
		}),
	}
}

// limit is the middleware that counts the answers of handlers. Streamed bodies have limits of their own. The answer to
// a call that has changed something is sent in any case, since it reports the change.
func (s *largeAnswers) limit(c *fiber.Ctx) error {
	if err := c.Next(); err != nil {
		return err
	}
	answer := c.Response()
	if c.Method() != fiber.MethodGet || answer.IsBodyStream() {
		return nil
	}
	text := answer.Body()
	if len(text) <= maxSmallAnswer {
		return nil
	}
	caller := auth.CallerFrom(c.UserContext()).Key
	if caller == "" {
		caller = httpx.AddressKey(httpx.ClientAddr(c, s.proxies))
	}
	answer.SwapBody(nil) // otherwise the server would reuse its memory for the next answer
	size := int64(cap(text))
	if !s.Reserve(caller, size) {
		s.refused.Inc()
		return errTooManyLargeAnswers
	}
	httpx.SendParts(c, net.Buffers{text}, func() { s.Release(caller, size) })
	return nil
}
