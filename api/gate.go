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
	"golang.org/x/sync/singleflight"

	"shelfcast/store"
)

// A gate lets into the admin API those who have a token, as often as they may.
type gate struct {
	tokens  tokenSource // of the database
	root    string      // the token of the settings; "": there is none
	jwt     *JWT        // nil: there is no provider
	limiter *Limiter
	calls   Rate // of a caller
	tries   Rate // of an address, with tokens that are not known from there
	proxies []Network

	known   *otter.Cache[comer, admitted]
	flights singleflight.Group // by comer
	looking chan struct{}      // has an element for each token that is looked up in the database for the first time
	refused *prometheus.CounterVec
}

// A tokenSource has the tokens of the API. *store.DB is one.
type tokenSource interface {
	TokenOf(ctx context.Context, secret string) (store.Token, error)
}

// A comer is a token, as its sum, and the address that it comes from.
type comer struct {
	sum     [sha256.Size]byte
	address string
}

// An admitted caller is not looked up again for a moment.
type admitted struct {
	caller Caller
	until  time.Time
}

const (
	// revoking is how long a token that was revoked, or has expired, may still be
	// taken by an instance that had seen it just before.
	revoking = 5 * time.Second
	// vouched is how long an address may go on with a token that was valid, however
	// many others are tried from there meanwhile.
	vouched = 24 * time.Hour
	// maxKnown is how many of them an instance knows: some 300 bytes each.
	maxKnown = 10_000
	// maxLooking is how many tokens that are not known an instance looks up in the
	// database at a time, for all addresses: a quarter of its connections.
	maxLooking = 4
	// lookingWait is how long one more waits for its turn.
	lookingWait = time.Second
)

var (
	errTries   = errors.New("too many tokens that are not valid came from this address")
	ErrLooking = errors.New("too many tokens that are not known are being looked up")
)

// newGate makes g ready. It knows no tokens yet.
func newGate(g *gate, metrics prometheus.Registerer) *gate {
	// No expiry of the cache's own: it would start a goroutine that nobody ends.
	g.known = otter.Must(&otter.Options[comer, admitted]{MaximumSize: maxKnown})
	g.looking = make(chan struct{}, maxLooking)
	g.refused = promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_admin_refused_total", Help: "Calls of the admin API that were not let in, by reason.",
	}, []string{"reason"})
	for _, why := range []string{"none", "token", "tries", "busy", "rate"} {
		g.refused.WithLabelValues(why)
	}
	return g
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

// caller is whose token this is. What is asked, and what it costs:
//
//   - A token that was valid from this address a moment ago costs nothing.
//   - One that was valid from there within a day is looked up again, and costs no try.
//   - Any other, the token of the settings too, costs the address a try before it is
//     compared with anything. A valid one gives the try back.
//
// So whoever guesses keeps out only those who share his address and come with a
// token that this instance has not seen from there for a day. Those who come with
// one token from one address at once are looked up together, and cost one try.
func (g *gate) caller(c *fiber.Ctx) (Caller, error) {
	token := bearerOf(c.Get(fiber.HeaderAuthorization))
	if token == "" {
		return Caller{}, g.unauthorised(c, "none", "a bearer token is required")
	}
	from := comer{sha256.Sum256([]byte(token)), addressKey(clientOf(c, g.proxies))}
	if known, ok := g.known.GetIfPresent(from); ok && time.Now().Before(known.until) {
		return known.caller, nil
	}
	found, err, _ := g.flights.Do(string(from.sum[:])+from.address, func() (any, error) {
		return g.try(c.UserContext(), from, strings.Clone(token))
	})
	tried := found.(attempt)
	switch {
	case errors.Is(err, errTries):
		setHeaders(c, tried.left.headers(g.tries))
		g.refused.WithLabelValues("tries").Inc()
		return Caller{}, fiber.NewError(fiber.StatusTooManyRequests, errTries.Error())
	case errors.Is(err, ErrLooking):
		g.refused.WithLabelValues("busy").Inc()
	case errors.Is(err, store.ErrNoToken), errors.Is(err, ErrToken):
		return Caller{}, g.unauthorised(c, "token", "the token is unknown, has expired or was revoked")
	}
	return tried.caller, err
}

// bearerOf is the token of an Authorization header, or "" if it has none.
func bearerOf(header string) string {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// An attempt is what has become of a try.
type attempt struct {
	caller Caller
	left   Allowance // of the address's tries, after errTries
}

// try looks a token up if its address has a try left, or if it was valid from there
// before. A try of which the outcome is not known is not given back: what the
// looking costs is the same. Errors: errTries, ErrLooking and those of look.
func (g *gate) try(ctx context.Context, from comer, token string) (attempt, error) {
	known, seen := g.known.GetIfPresent(from)
	seen = seen && time.Since(known.until) < vouched
	left := Allowance{OK: true}
	if !seen {
		if left = g.limiter.Take(ctx, g.tries, from.address); !left.OK {
			return attempt{left: left}, errTries
		}
	}
	caller, err := g.look(ctx, token, seen)
	if err != nil {
		if seen && (errors.Is(err, store.ErrNoToken) || errors.Is(err, ErrToken)) {
			g.known.Invalidate(from) // the next time it costs a try
		}
		return attempt{}, err
	}
	g.known.Set(from, admitted{caller, time.Now().Add(revoking)})
	if !seen {
		g.limiter.GiveBack(ctx, g.tries, from.address, left)
	}
	return attempt{caller: caller}, nil
}

// look asks whoever knows the token: the settings, the provider's keys for a JWT,
// which has two dots, else the database.
func (g *gate) look(ctx context.Context, token string, seen bool) (Caller, error) {
	if g.isRoot(token) {
		return Caller{Name: "admin token", Key: "root", Scopes: store.Scopes}, nil
	}
	if g.jwt != nil && strings.Count(token, ".") == 2 {
		return g.jwt.Caller(ctx, token)
	}
	if !seen {
		over := time.NewTimer(lookingWait)
		defer over.Stop()
		select {
		case g.looking <- struct{}{}:
			defer func() { <-g.looking }()
		case <-over.C:
			return Caller{}, ErrLooking
		}
	}
	t, err := g.tokens.TokenOf(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	return Caller{Name: t.Name, Key: fmt.Sprint("token:", t.ID), Scopes: t.Scopes}, nil
}

// isRoot reports whether it is the token of the settings, in a time that says
// nothing of it.
func (g *gate) isRoot(token string) bool {
	sum, root := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(g.root))
	return g.root != "" && subtle.ConstantTimeCompare(sum[:], root[:]) == 1
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
	for from, known := range g.known.All() {
		if known.caller.Key == key {
			g.known.Invalidate(from)
		}
	}
}
