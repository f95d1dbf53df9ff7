package public

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/api/apitest"
	"shelfcast/api/httpx"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/web"
)

// An offlinePublic is the public app with one product and neither a database nor a Redis: for what is decided before
// those are asked.
type offlinePublic struct {
	*App
	app     *fiber.App
	address string
}

func newOfflinePublic(t testing.TB) *offlinePublic {
	t.Helper()
	assets, err := httpx.LoadAssets(web.Assets...)
	if err != nil {
		t.Fatal(err)
	}
	templates := apitest.Templates(t)
	b := &offlinePublic{App: &App{
		Cache: apitest.NewCache(apitest.NoRedis(t), templates, time.Hour), Templates: templates, Assets: assets,
		Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	}}
	b.app = b.Fiber()
	b.lists.read = func(context.Context, string) ([]store.StorefrontItem, time.Duration, error) { return nil, 0, nil }
	b.vendors.read = func(context.Context, string) ([]string, time.Duration, error) {
		return []string{"Acme", "Bolt"}, 0, nil
	}
	b.sitemapRanges.read = func(context.Context, string) ([]store.IDRange, time.Duration, error) { return nil, 0, nil }
	return b
}

// listen serves the app on loopback until the test ends.
func (b *offlinePublic) listen(t testing.TB) *offlinePublic {
	t.Helper()
	b.address = apitest.Listen(t, b.app)
	return b
}

// holdsNoBody waits until no request body takes memory.
func (b *offlinePublic) holdsNoBody(t testing.TB) {
	t.Helper()
	testkit.Eventually(t, "no body is held", func() bool {
		bytes, callers := b.bodies.Held()
		return bytes == 0 && callers == 0
	})
}
