package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"shelfcast/api/auth"
	"shelfcast/api/httpx"
	"shelfcast/api/problem"
	"shelfcast/store"
)

// Idempotent is embedded in the input of every operation that writes.
type Idempotent struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"Any text that is new for each call, such as a UUID. A call with the same key is made once: a retry gets the first response, with Idempotency-Replayed: true, for 48 hours"`
}

// StoredResponseLifetime is the minimum time for which the response to a call with an Idempotency-Key is stored.
const StoredResponseLifetime = 48 * time.Hour

// An idempotentCall is a call that writes: what its handler needs to know of it, and what the handler reports back.
type idempotentCall struct {
	store.IdempotentCall      // Key is "" if the call has none; Digest is set once the body is read
	replayed             bool // the response is the stored one
}

type idempotentCallKey struct{}

// idempotentCallOf returns the call; its Key is "" if it has none.
func idempotentCallOf(ctx context.Context) *idempotentCall {
	if call, ok := ctx.Value(idempotentCallKey{}).(*idempotentCall); ok {
		return call
	}
	return &idempotentCall{}
}

// idempotency is the middleware that reads the Idempotency-Key of a call that writes, and marks a replayed response.
func idempotency(c *fiber.Ctx) error {
	if c.Method() == http.MethodGet || c.Method() == http.MethodHead {
		return c.Next()
	}
	call := &idempotentCall{}
	if key := c.Get("Idempotency-Key"); key != "" {
		call.IdempotentCall = store.IdempotentCall{Caller: auth.CallerFrom(c.UserContext()).Key, Key: key}
	}
	c.SetUserContext(context.WithValue(c.UserContext(), idempotentCallKey{}, call))
	err := c.Next()
	if call.replayed {
		c.Set("Idempotency-Replayed", "true")
	}
	return err
}

// readWholeBody is the middleware of the operations that reads the body of a call, once its caller is known to
// be authorised. An operation that takes its body as a stream has no limit, and the body is not part of the digest.
func readWholeBody(ctx huma.Context, next func(huma.Context)) {
	c := humafiber.Unwrap(ctx)
	if limit := ctx.Operation().MaxBodyBytes; limit > 0 {
		if _, err := httpx.ReadBody(c, auth.CallerFrom(ctx.Context()).Key, limit); err != nil {
			_ = problem.Write(c, err) // cannot fail: a problem can always be encoded
			return
		}
	}
	if call := idempotentCallOf(ctx.Context()); call.Key != "" {
		call.Digest = callDigest(c)
	}
	next(ctx)
}

// callDigest returns a hash of everything that determines the effect of the call.
func callDigest(c *fiber.Ctx) string {
	h := sha256.New()
	for _, part := range []string{c.Method(), c.OriginalURL(), c.Get(fiber.HeaderIfMatch)} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	h.Write(httpx.ReceivedBody(c))
	return hex.EncodeToString(h.Sum(nil))
}

// A storedResponse is the response to a call as the database keeps it for retries.
type storedResponse[O any] struct {
	Out     *O               `json:"out,omitempty"`
	Problem *huma.ErrorModel `json:"problem,omitempty"`
	Headers http.Header      `json:"headers,omitempty"`
}

func (s storedResponse[O]) result() (*O, error) {
	if s.Problem != nil {
		return nil, huma.ErrorWithHeaders(s.Problem, s.Headers)
	}
	return s.Out, nil
}

// runOnce runs w. If the call has an Idempotency-Key, w runs in a transaction that stores its response as well; and if
// a response is stored already, runOnce returns that one and no versions.
func runOnce[O any](ctx context.Context, db *store.DB,
	w func(context.Context) (*O, []store.Rev, error)) (out *O, committed []store.Rev, err error) {
	call := idempotentCallOf(ctx)
	if call.Key == "" {
		return w(ctx)
	}
	run := func(ctx context.Context) (response []byte, err error) {
		if out, committed, err = w(ctx); err != nil {
			return storableProblem[O](err), err
		}
		return json.Marshal(storedResponse[O]{Out: withoutSecret(out)})
	}
	response, replayed, err := db.RunIdempotent(ctx, call.IdempotentCall, run)
	switch {
	case replayed:
		var first storedResponse[O]
		if err := json.Unmarshal(response, &first); err != nil {
			return nil, nil, fmt.Errorf("decoding the stored response: %w", err)
		}
		call.replayed = true
		out, err = first.result()
		return out, nil, err
	case err != nil:
		return nil, nil, err
	}
	return out, committed, nil
}

// storableProblem returns the response to store for a call that fails with err, or nil if a retry may succeed.
func storableProblem[O any](err error) []byte {
	p, headers, known := problem.Of(err)
	if !known || p.Status >= 500 || p.Status == http.StatusTooManyRequests {
		return nil
	}
	response, err := json.Marshal(storedResponse[O]{Problem: p, Headers: headers})
	if err != nil {
		return nil
	}
	return response
}

// A secretOmitter is a response with a secret, which is not stored.
type secretOmitter[O any] interface{ withoutSecret() *O }

// withoutSecret returns out as it is stored.
func withoutSecret[O any](out *O) *O {
	if secret, ok := any(out).(secretOmitter[O]); ok {
		return secret.withoutSecret()
	}
	return out
}
