package auth

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
	"github.com/valyala/fasthttp"

	"shelfcast/api/httpx"
	"shelfcast/api/problem"
	"shelfcast/store"
	"shelfcast/testkit"
)

// fakeTokens is a TokenSource with tokens of its own.
type fakeTokens struct {
	mu      sync.Mutex
	valid   map[string]store.Token
	lookups atomic.Int64
	hold    chan struct{} // not nil: a look-up ends when it is closed
}

func (s *fakeTokens) TokenBySecret(_ context.Context, secret string) (store.Token, error) {
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

const settingsToken = "the token of the settings"

// newInstances returns two instances that share a Redis and the tokens, behind a proxy on loopback that says who asks.
func newInstances(t *testing.T, addr string, tokens TokenSource) (apps [2]*fiber.App, all [2]*Middleware) {
	t.Helper()
	proxies, err := httpx.ParseNetworks([]string{"0.0.0.0/8", "127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range apps {
		limiter, _ := newPatientLimiters(t, addr)
		all[i] = New(Config{Tokens: tokens, RootToken: settingsToken, TrustedProxies: proxies, Limiter: limiter.Limiter})
		all[i].attempts = Rate{Name: attemptsRate, Calls: 30, Per: time.Hour}
		apps[i] = fiber.New(fiber.Config{ErrorHandler: problem.Write})
		apps[i].Use(all[i].Authenticate)
		apps[i].Get("/", func(c *fiber.Ctx) error { return c.SendString(CallerFrom(c.UserContext()).Key) })
	}
	return apps, all
}

// statusOf returns the status of a call from an address with that Authorization header.
func statusOf(t testing.TB, app *fiber.App, address, header string) int {
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

// Once an address has used up its attempts, the right token is refused like the wrong ones, even the token of the
// settings. Whoever was verified from there before goes on, and so do all other addresses.
func TestRightTokenIsRefusedAfterTooManyWrongOnes(t *testing.T) {
	erp := store.Token{ID: 7, Name: "erp", Scopes: store.Scopes}
	tokens := &fakeTokens{valid: map[string]store.Token{"shelfcast_ERP": erp, "shelfcast_LATE": {ID: 8}}}
	apps, all := newInstances(t, testkit.StartRedis(t).Addr(), tokens)
	const theirs, other = "192.0.2.7", "192.0.2.8"
	if got := statusOf(t, apps[0], theirs, "Bearer shelfcast_ERP"); got != 200 {
		t.Fatal(got)
	}
	wrong := map[int]int{}
	for n := range 300 {
		wrong[statusOf(t, apps[n%2], theirs, fmt.Sprint("Bearer guess ", n))]++
	}
	if wrong[401] != 30 || wrong[429] != 270 {
		t.Errorf("of 300 guesses: %v", wrong)
	}
	if n := tokens.lookups.Load(); n != 31 {
		t.Errorf("%d look-ups for 31 tokens", n)
	}
	for _, token := range []string{settingsToken, "shelfcast_LATE"} {
		for _, app := range apps {
			if got := statusOf(t, app, theirs, "Bearer "+token); got != http.StatusTooManyRequests {
				t.Errorf("%s after too many guesses: %d", token, got)
			}
			if got := statusOf(t, app, other, "Bearer "+token); got != 200 {
				t.Errorf("%s from another address: %d", token, got)
			}
		}
	}
	for range 2 {
		if got := statusOf(t, apps[0], theirs, "Bearer shelfcast_ERP"); got != 200 {
			t.Errorf("who was let in before the guesses: %d", got)
		}
		for from, known := range all[0].known.All() { // as after a while
			all[0].known.Set(from, verified{known.caller, time.Now()})
		}
	}
	// One that was revoked meanwhile is looked up once, and costs a try from then on.
	tokens.mu.Lock()
	delete(tokens.valid, "shelfcast_ERP")
	tokens.mu.Unlock()
	before := tokens.lookups.Load()
	for _, want := range []int{401, 429, 429} {
		if got := statusOf(t, apps[0], theirs, "Bearer shelfcast_ERP"); got != want {
			t.Errorf("revoked: %d, want %d", got, want)
		}
	}
	if n := tokens.lookups.Load() - before; n != 1 {
		t.Errorf("%d look-ups of a token that was revoked", n)
	}
}

// 200 guesses at the same moment get no further than 200 one after the other. Valid tokens do not lock each other out,
// however many there are.
func TestConcurrentGuessesCostOneAttemptEach(t *testing.T) {
	tokens := &fakeTokens{valid: map[string]store.Token{}}
	for n := range 60 {
		tokens.valid[fmt.Sprint("good ", n)] = store.Token{ID: int64(n + 1)}
	}
	apps, _ := newInstances(t, testkit.StartRedis(t).Addr(), tokens)
	statuses := func(n int, address string, token func(int) string) map[int]int {
		var mu sync.Mutex
		var calls sync.WaitGroup
		got := map[int]int{}
		for i := range n {
			calls.Go(func() {
				status := statusOf(t, apps[i%2], address, "Bearer "+token(i))
				mu.Lock()
				got[status]++
				mu.Unlock()
			})
		}
		calls.Wait()
		return got
	}
	guess := func(i int) string { return fmt.Sprint("guess ", i) }
	if got := statuses(200, "192.0.2.7", guess); got[401] != 30 || got[429] != 170 {
		t.Errorf("of 200 guesses at once: %v", got)
	}
	if got := statuses(200, "192.0.2.8", func(int) string { return "good 0" }); got[200] != 200 {
		t.Errorf("200 calls at once with one valid token: %v", got)
	}
	for n := range 60 { // twice the limit, and each gives its try back
		if got := statusOf(t, apps[n%2], "192.0.2.9", fmt.Sprint("Bearer good ", n)); got != 200 {
			t.Errorf("valid token %d of an address: %d", n, got)
		}
	}
	if got := statuses(31, "192.0.2.9", guess); got[401] != 30 || got[429] != 1 {
		t.Errorf("guesses after them: %v", got)
	}
}

// Many addresses with many tokens take no more than a quarter of the connections to the database, and known callers go
// on.
func TestUnknownTokenLookUpsAreLimited(t *testing.T) {
	tokens := &fakeTokens{valid: map[string]store.Token{"known": {ID: 1}}}
	apps, all := newInstances(t, testkit.StartRedis(t).Addr(), tokens)
	if got := statusOf(t, apps[0], "192.0.2.1", "Bearer known"); got != 200 {
		t.Fatal(got)
	}
	tokens.hold = make(chan struct{})
	var strangers sync.WaitGroup
	var refused atomic.Int64
	for n := range 20 {
		strangers.Go(func() {
			if statusOf(t, apps[0], fmt.Sprint("198.51.100.", n),
				fmt.Sprint("Bearer guess ", n)) == http.StatusServiceUnavailable {
				refused.Add(1)
			}
		})
	}
	testkit.Eventually(t, "all but a few are refused", func() bool { return refused.Load() == 20-maxLookups })
	if n := tokens.lookups.Load(); n != 1+maxLookups {
		t.Errorf("%d look-ups at once", n-1)
	}
	for from, known := range all[0].known.All() {
		all[0].known.Set(from, verified{known.caller, time.Now()})
	}
	strangers.Go(func() {
		if got := statusOf(t, apps[0], "192.0.2.1", "Bearer known"); got != 200 {
			t.Errorf("who is known meanwhile: %d", got)
		}
	})
	testkit.Eventually(t, "who is known is looked up", func() bool { return tokens.lookups.Load() == 2+maxLookups })
	close(tokens.hold)
	strangers.Wait()
}

// FuzzAuthorization: whatever the header is, only the three valid tokens are accepted, as those whose they are, and
// every answer is a 200 or a 401.
func FuzzAuthorization(f *testing.F) {
	signed := edSigner.token(jwt.MapClaims{"scope": store.AdminTokens})
	for _, seed := range []string{
		"", "Bearer", "Bearer ", "bearer shelfcast_ERP", "Bearer  shelfcast_ERP ",
		"Basic c2hlbGZjYXN0X0VSUA==", "Bearer shelfcast_ERP shelfcast_ERP",
		"Bearer " + settingsToken, "Bearer the token", "Bearer " + signed, "Bearer " + signed + ".",
		"Bearer a.b.c", "Bearer\tshelfcast_ERP", "Bearer shelfcast_ERP\x00",
	} {
		f.Add(seed)
	}
	jwts := newTestJWT(f, newProvider(f, edSigner), func(c *JWTConfig) { c.MinRefetch = time.Hour }).JWT
	tokens := &fakeTokens{valid: map[string]store.Token{"shelfcast_ERP": {ID: 7}}}
	g := New(Config{Tokens: tokens, RootToken: settingsToken, JWT: jwts, Limiter: &Limiter{}})
	app := fiber.New(fiber.Config{ErrorHandler: problem.Write})
	app.Get("/", g.Authenticate, func(c *fiber.Ctx) error { return c.SendString(CallerFrom(c.UserContext()).Key) })
	serve := app.Handler()
	f.Fuzz(func(t *testing.T, header string) {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI("/")
		ctx.Request.Header.Set("Authorization", header)
		serve(&ctx)
		scheme, token, _ := strings.Cut(string(ctx.Request.Header.Peek("Authorization")), " ")
		want := ""
		if strings.EqualFold(scheme, "bearer") {
			want = map[string]string{"shelfcast_ERP": "token:7", settingsToken: "root"}[strings.TrimSpace(token)]
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
