package admin

import (
	"context"
	"log/slog"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"shelfcast/api/apitest"
	"shelfcast/api/auth"
	"shelfcast/api/httpx"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/web"
)

// rootToken may do everything in the admin app of an offlineAdmin.
const rootToken = "a token for tests"

// An offlineAdmin is the admin app without a database or Redis: for what is decided before those are asked.
type offlineAdmin struct {
	*App
	app     *fiber.App
	address string
	valid   tokenTable // tokens that the database has
}

// A tokenTable has tokens by their secrets.
type tokenTable map[string]store.Token

func (t tokenTable) TokenBySecret(_ context.Context, secret string) (store.Token, error) {
	if token, ok := t[secret]; ok {
		return token, nil
	}
	return store.Token{}, store.ErrNoToken
}

func newOfflineAdmin(t testing.TB) *offlineAdmin {
	t.Helper()
	assets, err := httpx.LoadAssets(web.Assets...)
	if err != nil {
		t.Fatal(err)
	}
	log, metrics := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	valid := tokenTable{}
	b := &offlineAdmin{valid: valid, App: &App{
		tokens: valid, Templates: apitest.Templates(t), Assets: assets, RootToken: rootToken,
		Limiter:        auth.NewLimiter(apitest.NoRedis(t), store.NamedShop("tests"), metrics, log),
		CallsPerMinute: 1e6, AttemptsPerMinute: 1e6,
		Metrics: promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}), Registerer: metrics, Log: log,
	}}
	b.app = b.Fiber()
	return b
}

// listen serves the app on loopback until the test ends.
func (b *offlineAdmin) listen(t testing.TB) *offlineAdmin {
	t.Helper()
	b.address = apitest.Listen(t, b.app)
	return b
}

// holdsNoBody waits until no request body takes memory.
func (b *offlineAdmin) holdsNoBody(t testing.TB) {
	t.Helper()
	testkit.Eventually(t, "no body is held", func() bool {
		bytes, callers := b.bodies.Held()
		return bytes == 0 && callers == 0
	})
}
