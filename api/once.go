package api

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

	"shelfcast/store"
)

// Idempotent is a part of the input of every call that changes something.
type Idempotent struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"Any text that is new for each call, such as a UUID. The same call with the same key is made once: whoever tries again gets the first answer, with Idempotency-Replayed: true, for 48 hours"`
}

// AnswersAge is how long the answer to a call with a key is kept at least.
const AnswersAge = 48 * time.Hour

// A turn is what a middleware has to know of a call, and is told of it.
type turn struct {
	call     store.Call // Key "": there is no key; Sum is known once the body is read
	replayed bool
}

type turnKey struct{}

// once takes in the Idempotency-Key of a call that changes something.
func once(c *fiber.Ctx) error {
	key := c.Get("Idempotency-Key")
	if c.Method() == http.MethodGet || c.Method() == http.MethodHead {
		return c.Next()
	}
	t := &turn{}
	if key != "" {
		t.call = store.Call{Caller: callerOf(c.UserContext()).Key, Key: key}
	}
	c.SetUserContext(context.WithValue(c.UserContext(), turnKey{}, t))
	err := c.Next()
	if t.replayed {
		c.Set("Idempotency-Replayed", "true")
	}
	return err
}

// whole is the middleware of the API that reads the body of a call, once it is known
// that its caller may make it. An operation whose body is a stream has no limit, and
// the body is not among the sum.
func whole(ctx huma.Context, next func(huma.Context)) {
	c := humafiber.Unwrap(ctx)
	if limit := ctx.Operation().MaxBodyBytes; limit > 0 {
		if _, err := readBody(c, callerOf(ctx.Context()).Key, limit); err != nil {
			_ = failPlain(c, err) // which fails for nothing that a problem has in it
			return
		}
	}
	if t, ok := ctx.Context().Value(turnKey{}).(*turn); ok && t.call.Key != "" {
		t.call.Sum = callSum(c)
	}
	next(ctx)
}

// callSum is of all that says what the call is to do.
func callSum(c *fiber.Ctx) string {
	h := sha256.New()
	for _, part := range []string{c.Method(), c.OriginalURL(), c.Get(fiber.HeaderIfMatch)} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	h.Write(bodyRead(c))
	return hex.EncodeToString(h.Sum(nil))
}

// An outcome is the answer to a call, as it is kept.
type outcome[O any] struct {
	Out     *O               `json:"out,omitempty"`
	Problem *huma.ErrorModel `json:"problem,omitempty"`
	Headers http.Header      `json:"headers,omitempty"`
}

func (o outcome[O]) result() (*O, error) {
	if o.Problem != nil {
		return nil, huma.ErrorWithHeaders(o.Problem, o.Headers)
	}
	return o.Out, nil
}

// changes is a handler of a call that changes something: made once for a key,
// and what it has changed is told to all when it is committed. handle may be run
// several times, and is to do nothing but what the database can take back.
func changes[I, O any](a *Admin, handle func(context.Context, *I) (*O, []store.Rev, error)) func(context.Context, *I) (*O, error) {
	return answers(a, func(ctx context.Context, in *I) (*O, error) {
		t, _ := ctx.Value(turnKey{}).(*turn)
		if t == nil || t.call.Key == "" {
			out, news, err := handle(ctx, in)
			if err == nil {
				a.announce(ctx, news)
			}
			return out, err
		}
		var out *O
		var news []store.Rev
		kept, before, err := a.DB.Once(ctx, t.call, func(ctx context.Context) (answer []byte, err error) {
			if out, news, err = handle(ctx, in); err != nil {
				return refusal[O](err), err
			}
			return json.Marshal(outcome[O]{Out: forKeeping(out)})
		})
		switch {
		case before:
			var first outcome[O]
			if err := json.Unmarshal(kept, &first); err != nil {
				return nil, fmt.Errorf("the answer that was kept: %w", err)
			}
			t.replayed = true
			return first.result()
		case err != nil:
			return nil, err
		}
		a.announce(ctx, news)
		return out, nil
	})
}

// announce tells all instances of versions that were committed together. Of products
// of which shoppers may not know only the staff's own feed of changes hears. If the
// database does not say which they are, the feeds find them.
func (a *Admin) announce(ctx context.Context, news []store.Rev) {
	if len(news) == 0 {
		return
	}
	ids := make([]int64, len(news))
	for i, r := range news {
		ids[i] = r.ID
	}
	public, err := a.DB.Versions(context.WithoutCancel(ctx), ids)
	if err != nil {
		a.Log.WarnContext(ctx, "what has changed is left to the feeds", "versions", len(news), "error", err)
		return
	}
	known := make(map[int64]bool, len(public))
	for _, r := range public {
		known[r.ID] = true
	}
	var told []store.Rev
	var hidden store.Rev
	for _, r := range news {
		switch {
		case known[r.ID]:
			told = append(told, r)
		case r.Version > hidden.Version:
			hidden = r
		}
	}
	a.Bus.PublishAll(ctx, told)
	if hidden.Version > 0 {
		a.Bus.PublishHidden(ctx, hidden)
	}
}

// refusal is the answer to keep of a call that fails, or nil if it may succeed
// when it is tried again.
func refusal[O any](err error) []byte {
	p, headers, known := problem(err)
	if !known || p.Status >= 500 || p.Status == http.StatusTooManyRequests {
		return nil
	}
	kept, err := json.Marshal(outcome[O]{Problem: p, Headers: headers})
	if err != nil {
		return nil
	}
	return kept
}

// forKeeping is what is kept of an answer: all, but for secrets.
func forKeeping[O any](out *O) *O {
	if secret, ok := any(out).(interface{ withoutSecret() *O }); ok {
		return secret.withoutSecret()
	}
	return out
}
