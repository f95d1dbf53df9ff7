package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"shelfcast/store"
	"shelfcast/store/storetest"
)

// someTokens is a tokenSource with tokens of its own.
type someTokens struct {
	mu      sync.Mutex
	valid   map[string]store.Token
	lookups atomic.Int64
	hold    chan struct{} // not nil: a look-up ends when it is closed
}

func (s *someTokens) TokenOf(_ context.Context, secret string) (store.Token, error) {
	s.lookups.Add(1)
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.valid[secret]; ok {
		return t, nil
	}
	return store.Token{}, store.ErrNoToken
}

const rootToken = "the token of the settings"

// gates are those of two instances that share a Redis and the tokens, behind a proxy
// on loopback that says who asks.
func gates(t *testing.T, addr string, tokens tokenSource) (apps [2]*fiber.App, all [2]*gate) {
	t.Helper()
	proxies, err := ParseNetworks([]string{"0.0.0.0/8", "127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range apps {
		limiter, _ := patient(t, addr)
		all[i] = newGate(&gate{
			tokens: tokens, root: rootToken, proxies: proxies, limiter: limiter.Limiter,
			tries: Rate{Name: triesRate, Calls: 30, Per: time.Hour},
		}, prometheus.NewRegistry())
		apps[i] = fiber.New(fiber.Config{ErrorHandler: failPlain})
		apps[i].Use(all[i].admit)
		apps[i].Get("/", func(c *fiber.Ctx) error { return c.SendString(callerOf(c.UserContext()).Key) })
	}
	return apps, all
}

// comes is the status of a call from an address with that Authorization header.
func comes(t testing.TB, app *fiber.App, address, header string) int {
	t.Helper()
	request := httptest.NewRequest("GET", "/", nil)
	request.Header.Set("Authorization", header)
	request.Header.Set("X-Forwarded-For", address)
	response, err := app.Test(request, -1)
	if err != nil {
		t.Error(err)
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// Once an address has had its tries, the right token is refused as the wrong ones are:
// also the token of the settings. Whoever was let in from there before goes on, and so
// do all other addresses.
func TestAGuessThatIsRightIsRefusedAfterTooManyWrongOnes(t *testing.T) {
	erp := store.Token{ID: 7, Name: "erp", Scopes: store.Scopes}
	tokens := &someTokens{valid: map[string]store.Token{"shelfcast_ERP": erp, "shelfcast_LATE": {ID: 8}}}
	apps, all := gates(t, storetest.StartRedis(t).Addr(), tokens)
	const theirs, other = "192.0.2.7", "192.0.2.8"
	if got := comes(t, apps[0], theirs, "Bearer shelfcast_ERP"); got != 200 {
		t.Fatal(got)
	}
	wrong := map[int]int{}
	for n := range 300 {
		wrong[comes(t, apps[n%2], theirs, fmt.Sprint("Bearer guess ", n))]++
	}
	if wrong[401] != 30 || wrong[429] != 270 {
		t.Errorf("of 300 guesses: %v", wrong)
	}
	if n := tokens.lookups.Load(); n != 31 {
		t.Errorf("%d look-ups for 31 tokens", n)
	}
	for _, token := range []string{rootToken, "shelfcast_LATE"} {
		for _, app := range apps {
			if got := comes(t, app, theirs, "Bearer "+token); got != http.StatusTooManyRequests {
				t.Errorf("%s after too many guesses: %d", token, got)
			}
			if got := comes(t, app, other, "Bearer "+token); got != 200 {
				t.Errorf("%s from another address: %d", token, got)
			}
		}
	}
	for range 2 {
		if got := comes(t, apps[0], theirs, "Bearer shelfcast_ERP"); got != 200 {
			t.Errorf("who was let in before the guesses: %d", got)
		}
		for from, known := range all[0].known.All() { // as after a while
			all[0].known.Set(from, admitted{known.caller, time.Now()})
		}
	}
	// One that was revoked meanwhile is looked up once, and costs a try from then on.
	tokens.mu.Lock()
	delete(tokens.valid, "shelfcast_ERP")
	tokens.mu.Unlock()
	before := tokens.lookups.Load()
	for _, want := range []int{401, 429, 429} {
		if got := comes(t, apps[0], theirs, "Bearer shelfcast_ERP"); got != want {
			t.Errorf("revoked: %d, want %d", got, want)
		}
	}
	if n := tokens.lookups.Load() - before; n != 1 {
		t.Errorf("%d look-ups of a token that was revoked", n)
	}
}

// 200 guesses at the same moment are no more than 200 one after the other; and those
// with a valid token do not keep each other out, however many they are.
func TestGuessesAtOnceCostATryEach(t *testing.T) {
	tokens := &someTokens{valid: map[string]store.Token{}}
	for n := range 60 {
		tokens.valid[fmt.Sprint("good ", n)] = store.Token{ID: int64(n + 1)}
	}
	apps, _ := gates(t, storetest.StartRedis(t).Addr(), tokens)
	statuses := func(n int, address string, token func(int) string) map[int]int {
		var mu sync.Mutex
		var calls sync.WaitGroup
		got := map[int]int{}
		for i := range n {
			calls.Go(func() {
				status := comes(t, apps[i%2], address, "Bearer "+token(i))
				mu.Lock()
				got[status]++
				mu.Unlock()
			})
		}
		calls.Wait()
		return got
	}
	if got := statuses(200, "192.0.2.7", func(i int) string { return fmt.Sprint("guess ", i) }); got[401] != 30 || got[429] != 170 {
		t.Errorf("of 200 guesses at once: %v", got)
	}
	if got := statuses(200, "192.0.2.8", func(int) string { return "good 0" }); got[200] != 200 {
		t.Errorf("200 calls at once with one valid token: %v", got)
	}
	for n := range 60 { // twice the limit, and each gives its try back
		if got := comes(t, apps[n%2], "192.0.2.9", fmt.Sprint("Bearer good ", n)); got != 200 {
			t.Errorf("valid token %d of an address: %d", n, got)
		}
	}
	if got := statuses(31, "192.0.2.9", func(i int) string { return fmt.Sprint("guess ", i) }); got[401] != 30 || got[429] != 1 {
		t.Errorf("guesses after them: %v", got)
	}
}

// Many addresses with many tokens take no more than a quarter of the connections to the
// database, and those who are known go on.
func TestTokensThatAreNotKnownAreLookedUpAFewAtATime(t *testing.T) {
	tokens := &someTokens{valid: map[string]store.Token{"known": {ID: 1}}}
	apps, all := gates(t, storetest.StartRedis(t).Addr(), tokens)
	if got := comes(t, apps[0], "192.0.2.1", "Bearer known"); got != 200 {
		t.Fatal(got)
	}
	tokens.hold = make(chan struct{})
	var strangers sync.WaitGroup
	var refused atomic.Int64
	for n := range 20 {
		strangers.Go(func() {
			if comes(t, apps[0], fmt.Sprint("198.51.100.", n), fmt.Sprint("Bearer guess ", n)) == http.StatusServiceUnavailable {
				refused.Add(1)
			}
		})
	}
	storetest.Eventually(t, "all but a few are refused", func() bool { return refused.Load() == 20-maxLooking })
	if n := tokens.lookups.Load(); n != 1+maxLooking {
		t.Errorf("%d look-ups at once", n-1)
	}
	for from, known := range all[0].known.All() {
		all[0].known.Set(from, admitted{known.caller, time.Now()})
	}
	strangers.Go(func() {
		if got := comes(t, apps[0], "192.0.2.1", "Bearer known"); got != 200 {
			t.Errorf("who is known meanwhile: %d", got)
		}
	})
	storetest.Eventually(t, "who is known is looked up", func() bool { return tokens.lookups.Load() == 2+maxLooking })
	close(tokens.hold)
	strangers.Wait()
}

// FuzzAuthorization: whatever stands in the header, it lets in those alone who have one
// of the three valid tokens, as whom these are; and it makes no answer but 200
// and 401.
func FuzzAuthorization(f *testing.F) {
	signed := edSigner.token(jwt.MapClaims{"scope": store.AdminTokens})
	for _, seed := range []string{
		"", "Bearer", "Bearer ", "bearer shelfcast_ERP", "Bearer  shelfcast_ERP ", "Basic c2hlbGZjYXN0X0VSUA==", "Bearer shelfcast_ERP shelfcast_ERP",
		"Bearer " + rootToken, "Bearer the token", "Bearer " + signed, "Bearer " + signed + ".", "Bearer a.b.c", "Bearer\tshelfcast_ERP", "Bearer shelfcast_ERP\x00",
	} {
		f.Add(seed)
	}
	jwts := trusts(f, newProvider(f, edSigner), func(c *JWTConfig) { c.Ask = time.Hour }).JWT
	tokens := &someTokens{valid: map[string]store.Token{"shelfcast_ERP": {ID: 7}}}
	g := newGate(&gate{tokens: tokens, root: rootToken, jwt: jwts, limiter: &Limiter{}}, prometheus.NewRegistry())
	app := fiber.New(fiber.Config{ErrorHandler: failPlain})
	app.Get("/", g.admit, func(c *fiber.Ctx) error { return c.SendString(callerOf(c.UserContext()).Key) })
	serve := app.Handler()
	f.Fuzz(func(t *testing.T, header string) {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI("/")
		ctx.Request.Header.Set("Authorization", header)
		serve(&ctx)
		scheme, token, _ := strings.Cut(string(ctx.Request.Header.Peek("Authorization")), " ")
		want := ""
		if strings.EqualFold(scheme, "bearer") {
			want = map[string]string{"shelfcast_ERP": "token:7", rootToken: "root"}[strings.TrimSpace(token)]
			if strings.TrimSpace(token) == signed {
				want = "jwt:" + jwts.issuer + ":ada"
			}
		}
		switch status, body := ctx.Response.StatusCode(), string(ctx.Response.Body()); {
		case status == 200 && (want == "" || body != want), status != 200 && want != "":
			t.Errorf("%q: %d as %q, want %q", header, status, body, want)
		case status != 200 && status != 401:
			t.Errorf("%q: %d %s", header, status, body)
		}
	})
}
