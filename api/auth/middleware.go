// Package auth authenticates the calls of the admin API, by tokens of the settings, of the database and of an
// identity provider (JWT), with scopes, and limits their rate over the whole fleet. Only NewJWT starts a goroutine,
// which fetches the provider's keys.
package auth

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

	"shelfcast/api/httpx"
	"shelfcast/api/problem"
	"shelfcast/store"
)

// Config says which tokens are accepted, and the rate limits. Limiter is required. The zero value of the other fields
// means none: no such tokens, no limit.
type Config struct {
	Tokens            TokenSource // of the database
	RootToken         string      // the token of --admin-token, which has all scopes
	JWT               *JWT        // tokens of an identity provider
	Limiter           *Limiter
	CallsPerMinute    int             // per caller, over the fleet
	AttemptsPerMinute int             // per address, over the fleet, with tokens that were not valid from there before
	TrustedProxies    []httpx.Network // whose X-Forwarded-For is trusted
	Metrics           prometheus.Registerer
}

// A TokenSource has the tokens that were created in the database. *store.DB is one.
type TokenSource interface {
	TokenBySecret(ctx context.Context, secret string) (store.Token, error)
}

// A Middleware authenticates the calls of the admin API by their bearer tokens, and limits their rate.
type Middleware struct {
	// Static after construction.
	cfg      Config
	calls    Rate
	attempts Rate
	refused  *prometheus.CounterVec

	// Safe for concurrent use.
	known   *otter.Cache[credential, verified]
	flights singleflight.Group // by credential
	lookups chan struct{}      // has an element for each unknown token that is being looked up in the database
}

// A credential is the hash of a token, and the address that it comes from.
type credential struct {
	sum     [sha256.Size]byte
	address string
}

// A verified credential need not be looked up again for a moment.
type verified struct {
	caller Caller
	until  time.Time
}

const (
	// verifiedFor is how long an instance goes on accepting a token that was revoked or has expired since.
	verifiedFor = 5 * time.Second
	// rememberedFor is how long an address may go on with a token that was valid, however many other tokens are
	// tried from there meanwhile.
	rememberedFor = 24 * time.Hour
	// maxRemembered is how many credentials an instance remembers, at some 300 bytes each.
	maxRemembered = 10_000
	// maxLookups is how many unknown tokens an instance looks up in the database at a time, for all addresses: a
	// quarter of its connections.
	maxLookups = 4
	// lookupWait is how long a look-up waits for another one to end.
	lookupWait = time.Second
)

var (
	errAttempts = errors.New("too many invalid tokens from this address")
	errLookups  = problem.New(fiber.StatusServiceUnavailable, "too-many-unknown-tokens",
		"too many unknown tokens are being looked up")
)

// New returns a Middleware.
func New(cfg Config) *Middleware {
	m := &Middleware{
		cfg:      cfg,
		calls:    Rate{Name: callsRate, Calls: cfg.CallsPerMinute, Per: time.Minute},
		attempts: Rate{Name: attemptsRate, Calls: cfg.AttemptsPerMinute, Per: time.Minute},
		// The cache does not expire entries by itself: it would start a goroutine that is never stopped.
		known:   otter.Must(&otter.Options[credential, verified]{MaximumSize: maxRemembered}),
		lookups: make(chan struct{}, maxLookups),
		refused: promauto.With(cfg.Metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_admin_requests_refused_total", Help: "Calls of the admin API refused, by reason.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{"no_token", "invalid_token", "too_many_attempts", "busy", "rate_limit"} {
		m.refused.WithLabelValues(reason)
	}
	return m
}

type callerKey struct{}

// WithCaller returns a context for a call that caller makes. The history names caller as the author of its edits.
func WithCaller(ctx context.Context, caller Caller) context.Context {
	ctx = store.WithAuthor(ctx, store.Author{Key: caller.Key, Name: caller.Name})
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerFrom returns the caller, or the zero Caller without authentication.
func CallerFrom(ctx context.Context) Caller {
	caller, _ := ctx.Value(callerKey{}).(Caller)
	return caller
}

// Authenticate is the Fiber handler before all of the API. It passes on the calls that have a valid token and are
// within the rate of their caller.
func (m *Middleware) Authenticate(c *fiber.Ctx) error {
	caller, err := m.caller(c)
	if err != nil {
		return err
	}
	left := m.cfg.Limiter.Take(c.UserContext(), m.calls, caller.Key, 1)
	problem.SetHeaders(c, left.headers(m.calls))
	if !left.OK {
		m.refused.WithLabelValues("rate_limit").Inc()
		return fiber.NewError(fiber.StatusTooManyRequests,
			fmt.Sprintf("%s may make %d calls in %v", caller.Name, m.calls.Calls, m.calls.Per))
	}
	c.SetUserContext(WithCaller(c.UserContext(), caller))
	return c.Next()
}

// caller returns the caller, by the token of the call. The cost to the caller's address:
//
//   - A token that was verified from this address a moment ago costs nothing.
//   - One that was valid from there within a day is looked up again, and costs no attempt.
//   - Any other, the root token too, costs the address an attempt before it is compared with anything.
//     A valid one gets the attempt back.
//
// So guessing tokens locks out only callers that share the address and whose token this instance has not seen from
// there for a day. Calls with one token from one address at the same time are looked up once, and cost
// one attempt.
func (m *Middleware) caller(c *fiber.Ctx) (Caller, error) {
	token := bearerToken(c.Get(fiber.HeaderAuthorization))
	if token == "" {
		return Caller{}, m.unauthorized(c, "no_token", "a bearer token is required")
	}
	from := credential{sha256.Sum256([]byte(token)), httpx.AddressKey(httpx.ClientAddr(c, m.cfg.TrustedProxies))}
	if known, ok := m.known.GetIfPresent(from); ok && time.Now().Before(known.until) {
		return known.caller, nil
	}
	found, err, _ := m.flights.Do(string(from.sum[:])+from.address, func() (any, error) {
		return m.verify(c.UserContext(), from, token)
	})
	result := found.(verification)
	switch {
	case errors.Is(err, errAttempts):
		problem.SetHeaders(c, result.left.headers(m.attempts))
		m.refused.WithLabelValues("too_many_attempts").Inc()
		return Caller{}, fiber.NewError(fiber.StatusTooManyRequests, errAttempts.Error())
	case errors.Is(err, errLookups):
		m.refused.WithLabelValues("busy").Inc()
	case errors.Is(err, store.ErrNoToken), errors.Is(err, errToken):
		return Caller{}, m.unauthorized(c, "invalid_token", "the token is unknown, expired or revoked")
	}
	return result.caller, err
}

// bearerToken returns the token of an Authorization header, or "" if it has none.
func bearerToken(header string) string {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// A verification is the result of verify.
type verification struct {
	caller Caller
	left   Allowance // the attempts of the address, after errAttempts
}

// verify looks up a token if its address has an attempt left, or if it was valid from there before. An attempt is
// not given back if its outcome is unknown: the look-up costs the same. Errors: errAttempts, errLookups and those of
// lookUp.
func (m *Middleware) verify(ctx context.Context, from credential, token string) (verification, error) {
	known, seen := m.known.GetIfPresent(from)
	seen = seen && time.Since(known.until) < rememberedFor
	left := Allowance{OK: true}
	if !seen {
		if left = m.cfg.Limiter.Take(ctx, m.attempts, from.address, 1); !left.OK {
			return verification{left: left}, errAttempts
		}
	}
	caller, err := m.lookUp(ctx, token, seen)
	if err != nil {
		if seen && (errors.Is(err, store.ErrNoToken) || errors.Is(err, errToken)) {
			m.known.Invalidate(from) // the next time it costs an attempt
		}
		return verification{}, err
	}
	m.known.Set(from, verified{caller, time.Now().Add(verifiedFor)})
	if !seen {
		m.cfg.Limiter.GiveBack(ctx, m.attempts, from.address, 1, left)
	}
	return verification{caller: caller}, nil
}

// lookUp returns the caller that a token belongs to: the root token, one of the identity provider's if it is a JWT,
// which has two dots, or one of the database.
func (m *Middleware) lookUp(ctx context.Context, token string, seen bool) (Caller, error) {
	if m.isRoot(token) {
		return Caller{Name: "admin token", Key: "root", Scopes: store.Scopes}, nil
	}
	if m.cfg.JWT != nil && strings.Count(token, ".") == 2 {
		return m.cfg.JWT.Caller(ctx, token)
	}
	if !seen {
		timeout := time.NewTimer(lookupWait)
		defer timeout.Stop()
		select {
		case m.lookups <- struct{}{}:
			defer func() { <-m.lookups }()
		case <-timeout.C:
			return Caller{}, errLookups
		}
	}
	t, err := m.cfg.Tokens.TokenBySecret(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	return Caller{Name: t.Name, Key: fmt.Sprint("token:", t.ID), Scopes: t.Scopes}, nil
}

// isRoot reports whether token is the root token, in constant time.
func (m *Middleware) isRoot(token string) bool {
	sum, root := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(m.cfg.RootToken))
	return m.cfg.RootToken != "" && subtle.ConstantTimeCompare(sum[:], root[:]) == 1
}

// unauthorized returns a 401 with the challenge of RFC 6750.
func (m *Middleware) unauthorized(c *fiber.Ctx, reason, message string) error {
	m.refused.WithLabelValues(reason).Inc()
	challenge := `Bearer realm="shelfcast"`
	if reason != "no_token" {
		challenge += `, error="invalid_token"`
	}
	c.Set(fiber.HeaderWWWAuthenticate, challenge)
	return fiber.NewError(fiber.StatusUnauthorized, message)
}

// Forget makes this instance reject a token of the database at once, after it was revoked. Other instances accept it
// for up to verifiedFor.
func (m *Middleware) Forget(tokenID int64) {
	key := fmt.Sprint("token:", tokenID)
	for from, known := range m.known.All() {
		if known.caller.Key == key {
			m.known.Invalidate(from)
		}
	}
}
