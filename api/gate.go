package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"shelfcast/store"
)

// A gate lets into the admin API those who have a token, as often as they may.
type gate struct {
	db      *store.DB
	root    string // the token of the settings; "": there is none
	jwt     *JWT   // nil: there is no provider
	limiter *Limiter
	calls   Rate // of a caller
	tries   Rate // of an address, with tokens that are none
	proxies []Network

	known   *otter.Cache[[32]byte, admitted] // by the token's sum
	refused *prometheus.CounterVec
}

// An admitted caller is not looked up again for a moment.
type admitted struct {
	caller Caller
	until  time.Time
}

// revoking is how long a token that was revoked, or has expired, may still be
// taken by an instance that had seen it just before.
const revoking = 5 * time.Second

// newGate has no tokens in memory yet.
func newGate(g gate, metrics prometheus.Registerer) *gate {
	g.known = otter.Must(&otter.Options[[32]byte, admitted]{MaximumSize: 10_000})
	g.refused = promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_admin_refused_total", Help: "Calls of the admin API that were not let in, by reason.",
	}, []string{"reason"})
	for _, why := range []string{"none", "token", "tries", "rate"} {
		g.refused.WithLabelValues(why)
	}
	return &g
}

type callerKey struct{}

// callerOf is whose call this is.
func callerOf(ctx context.Context) Caller {
	caller, _ := ctx.Value(callerKey{}).(Caller)
	return caller
}

// admit is the middleware before all of the API.
func (g *gate) admit(c *fiber.Ctx) error {
	caller, err := g.caller(c)
	if err != nil {
		return err
	}
	left := g.limiter.Take(c.UserContext(), g.calls, caller.Key)
	setHeaders(c, left.headers(g.calls))
	if !left.OK {
		g.refused.WithLabelValues("rate").Inc()
		return fiber.NewError(fiber.StatusTooManyRequests, fmt.Sprintf("%s may make %d calls in %v", caller.Name, g.calls.Calls, g.calls.Per))
	}
	by := store.By(c.UserContext(), store.Author{Key: caller.Key, Name: caller.Name})
	c.SetUserContext(context.WithValue(by, callerKey{}, caller))
	return c.Next()
}

// caller is whose token this is. An address that tries many that are none is
// answered no more; those that are known from there go on.
func (g *gate) caller(c *fiber.Ctx) (Caller, error) {
	scheme, token, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return Caller{}, g.unauthorised(c, "none", "a bearer token is required")
	}
	sum := sha256.Sum256([]byte(token))
	if root := sha256.Sum256([]byte(g.root)); g.root != "" && subtle.ConstantTimeCompare(sum[:], root[:]) == 1 {
		return Caller{Name: "admin token", Key: "root", Scopes: store.Scopes}, nil
	}
	if known, ok := g.known.GetIfPresent(sum); ok && time.Now().Before(known.until) {
		return known.caller, nil
	}
	address := addressKey(clientOf(c, g.proxies))
	if left := g.limiter.Peek(c.UserContext(), g.tries, address); !left.OK {
		setHeaders(c, left.headers(g.tries))
		g.refused.WithLabelValues("tries").Inc()
		return Caller{}, fiber.NewError(fiber.StatusTooManyRequests, "too many tokens from this address were none")
	}
	caller, err := g.look(c.UserContext(), strings.Clone(token))
	switch {
	case errors.Is(err, store.ErrNoToken), errors.Is(err, ErrToken):
		g.limiter.Take(c.UserContext(), g.tries, address)
		return Caller{}, g.unauthorised(c, "token", "the token is unknown, has expired or was revoked")
	case err != nil:
		return Caller{}, err
	}
	g.known.Set(sum, admitted{caller, time.Now().Add(revoking)})
	return caller, nil
}

// look asks whoever knows the token: the provider's keys for a JWT, which has two
// dots, else the database.
func (g *gate) look(ctx context.Context, token string) (Caller, error) {
	if g.jwt != nil && strings.Count(token, ".") == 2 {
		return g.jwt.Caller(ctx, token)
	}
	t, err := g.db.TokenOf(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	return Caller{Name: t.Name, Key: fmt.Sprint("token:", t.ID), Scopes: t.Scopes}, nil
}

// unauthorised is as RFC 6750 has it.
func (g *gate) unauthorised(c *fiber.Ctx, why, message string) error {
	g.refused.WithLabelValues(why).Inc()
	challenge := `Bearer realm="shelfcast"`
	if why != "none" {
		challenge += `, error="invalid_token"`
	}
	c.Set(fiber.HeaderWWWAuthenticate, challenge)
	return fiber.NewError(fiber.StatusUnauthorized, message)
}

// forget drops what is known of a token that this instance has revoked.
func (g *gate) forget(id int64) {
	key := fmt.Sprint("token:", id)
	for sum, known := range g.known.All() {
		if known.caller.Key == key {
			g.known.Invalidate(sum)
		}
	}
}
