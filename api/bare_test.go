package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/web"
)

// bareToken may do everything in the admin app of a bare.
const bareToken = "a token for tests"

// A bare is both apps on sockets, with one product and neither a database nor a
// Redis: for what is decided before those are asked.
type bare struct {
	t             testing.TB
	public        *Public
	admin         *Admin
	publicApp     *fiber.App
	adminApp      *fiber.App
	publicAddress string
	adminAddress  string
}

func newBare(t testing.TB) *bare {
	t.Helper()
	templates, err := render.Load(render.Config{Files: []fs.FS{web.Templates}})
	if err != nil {
		t.Fatal(err)
	}
	assets, err := LoadAssets(web.Assets)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1}) // nobody is there
	t.Cleanup(func() { rdb.Close() })
	shop := store.NamedShop("tests")
	log, metrics := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	cache := render.NewCache(one{}, rdb, shop, templates, render.CacheConfig{Log: log})
	cache.Trust(time.Now().Add(time.Hour))
	b := &bare{t: t}
	b.public = &Public{Cache: cache, Templates: templates, Assets: assets, Metrics: metrics, Log: log}
	b.publicApp = b.public.App()
	b.public.lists.read = func(context.Context, string) ([]store.Slot, error) { return nil, nil }
	b.public.vendors.read = func(context.Context, string) ([]string, error) { return []string{"Acme", "Bolt"}, nil }
	b.public.parts.read = func(context.Context, string) ([]store.Stretch, error) { return nil, nil }
	b.admin = &Admin{
		Templates: templates, Assets: assets, Token: bareToken, Limiter: NewLimiter(rdb, shop, metrics, log), CallsPerMinute: 1e6, TriesPerMinute: 1e6,
		Metrics: promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}), Registerer: metrics, Log: log,
	}
	b.adminApp = b.admin.App()
	return b
}

// listen serves both apps on loopback until the test ends.
func (b *bare) listen() *bare {
	b.t.Helper()
	for app, address := range map[*fiber.App]*string{b.publicApp: &b.publicAddress, b.adminApp: &b.adminAddress} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.t.Fatal(err)
		}
		*address = l.Addr().String()
		ended := make(chan error, 1)
		go func() { ended <- app.Listener(l) }()
		b.t.Cleanup(func() {
			if err := errors.Join(app.Shutdown(), <-ended); err != nil {
				b.t.Error(err)
			}
		})
	}
	return b
}

// An answer is what came over a raw connection.
type answer struct {
	status int
	header http.Header
	body   string
}

// raw writes to a connection of its own what send writes, and reads the answer to a
// request with that method.
func (b *bare) raw(address, method string, send func(io.Writer)) answer {
	b.t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	written := make(chan struct{})
	go func() {
		defer close(written)
		w := bufio.NewWriter(conn)
		send(w)
		w.Flush()
	}()
	got := readAnswer(b.t, bufio.NewReader(conn), method)
	conn.Close()
	<-written
	return got
}

func readAnswer(t testing.TB, from *bufio.Reader, method string) answer {
	t.Helper()
	r, err := http.ReadResponse(from, &http.Request{Method: method})
	if err != nil {
		t.Errorf("no answer: %v", err)
		return answer{}
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		t.Errorf("%d: %v", r.StatusCode, err)
	}
	return answer{r.StatusCode, r.Header, string(body)}
}
