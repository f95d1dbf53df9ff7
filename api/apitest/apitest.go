// Package apitest has what the tests of the HTTP apps share: requests byte by byte over real sockets, and checks
// that hold for every app. Only tests import it.
package apitest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/web"
)

// Listen serves app on a loopback socket until the test ends, and returns its address.
func Listen(t testing.TB, app *fiber.App) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Listener(l) }()
	t.Cleanup(func() {
		if err := errors.Join(app.Shutdown(), <-ended); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// A Response is what came over a raw connection.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// Send opens a connection, writes to it what write writes, and reads the response to a request with that method.
func Send(t testing.TB, address, method string, write func(io.Writer)) Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	written := make(chan struct{})
	go func() {
		defer close(written)
		w := bufio.NewWriter(conn)
		write(w)
		w.Flush()
	}()
	got := ReadResponse(t, bufio.NewReader(conn), method)
	conn.Close()
	<-written
	return got
}

// ReadResponse reads the response to a request with that method.
func ReadResponse(t testing.TB, from *bufio.Reader, method string) Response {
	t.Helper()
	r, err := http.ReadResponse(from, &http.Request{Method: method})
	if err != nil {
		t.Errorf("no response: %v", err)
		return Response{}
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		t.Errorf("%d: %v", r.StatusCode, err)
	}
	return Response{r.StatusCode, r.Header, string(body)}
}

// WriteZeros writes that many bytes, of which only a piece is in memory at a time.
func WriteZeros(w io.Writer, bytes int) {
	piece := make([]byte, 64<<10)
	for ; bytes > 0; bytes -= len(piece) {
		if _, err := w.Write(piece[:min(bytes, len(piece))]); err != nil {
			return
		}
	}
}

// AllocatedBy returns how many bytes are allocated while work runs.
func AllocatedBy(work func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// Counted returns the sum of a counter over all its labels.
func Counted(t testing.TB, metrics prometheus.Gatherer, name string) (n int) {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.Metric {
			if family.GetName() == name {
				n += int(metric.Counter.GetValue())
			}
		}
	}
	return n
}

// Templates returns the templates that the program ships with.
func Templates(t testing.TB) *render.Templates {
	t.Helper()
	templates, err := render.Load(render.Config{Files: []fs.FS{web.Templates}})
	if err != nil {
		t.Fatal(err)
	}
	return templates
}

// NoRedis returns a client of a Redis that is not there.
func NoRedis(t testing.TB) redis.UniversalClient {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// NewCache returns a cache over OneProduct, which is trusted to be current for that long.
func NewCache(rdb redis.UniversalClient, templates *render.Templates, trusted time.Duration) *render.Cache {
	log := slog.New(slog.DiscardHandler)
	cache := render.NewCache(OneProduct{}, rdb, store.NamedShop("tests"), templates, render.CacheConfig{Log: log})
	cache.TrustUntil(time.Now().Add(trusted), time.Time{})
	return cache
}

// OneProduct is a render.Source that has product 42 at version 17.
type OneProduct struct{}

// ProductAtLeast returns the product.
func (OneProduct) ProductAtLeast(context.Context, store.Rev) (store.Product, error) {
	price, err := store.ParsePrice("19.90")
	return store.Product{Rev: store.Rev{ID: 42, Version: 17}, Title: "Lamp",
		Price: price, Currency: "EUR", Stock: 7, Published: true}, err
}

// ProductsAtLeast returns the product.
func (o OneProduct) ProductsAtLeast(ctx context.Context, _ []store.Rev) ([]store.Product, error) {
	p, err := o.ProductAtLeast(ctx, store.Rev{})
	return []store.Product{p}, err
}

// Versions returns the product's version.
func (OneProduct) Versions(context.Context, []int64) ([]store.Rev, error) {
	return []store.Rev{{ID: 42, Version: 17}}, nil
}

// MaxID returns the product's id.
func (OneProduct) MaxID(context.Context) (int64, error) { return 42, nil }
