package api

import (
	"context"
	"io/fs"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/store/storetest"
	"shelfcast/web"
)

// one is a store with one product.
type one struct{}

func (one) Shown(context.Context, store.Rev) (store.Product, error) {
	price, err := store.ParsePrice("19.90")
	return store.Product{Rev: store.Rev{ID: 42, Version: 17}, Title: "Lamp", Price: price, Currency: "EUR", Stock: 7, Published: true}, err
}

func (o one) ShownAll(ctx context.Context, _ []store.Rev) ([]store.Product, error) {
	p, err := o.Shown(ctx, store.Rev{})
	return []store.Product{p}, err
}

func (one) Versions(context.Context, []int64) ([]store.Rev, error) {
	return []store.Rev{{ID: 42, Version: 17}}, nil
}

func (one) Highest(context.Context) (int64, error) { return 42, nil }

// BenchmarkSync is POST /product/tree/sync through the whole app but for the
// socket, while the feed vouches for memory and while it does not.
func BenchmarkSync(b *testing.B) {
	templates, err := render.Load(render.Config{Files: []fs.FS{web.Templates}})
	if err != nil {
		b.Fatal(err)
	}
	assets, err := LoadAssets(web.Assets)
	if err != nil {
		b.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: storetest.StartRedis(b).Addr()})
	defer rdb.Close()
	for name, trusted := range map[string]time.Duration{"current=memory": time.Hour, "current=redis": 0} {
		b.Run(name, func(b *testing.B) {
			log := slog.New(slog.DiscardHandler)
			cache := render.NewCache(one{}, rdb, store.NamedShop("tests"), templates, render.CacheConfig{Log: log})
			cache.Trust(time.Now().Add(trusted))
			serve := (&Public{Cache: cache, Templates: templates, Assets: assets, Log: log}).App().Handler()
			var ctx fasthttp.RequestCtx
			ctx.Request.Header.SetMethod("POST")
			ctx.Request.SetRequestURI("/product/tree/sync")
			ctx.Request.SetBodyString(`{"jsonrpc":"2.0","id":1,"method":"call","params":{"product_id":42}}`)
			b.ReportAllocs()
			for b.Loop() {
				ctx.Response.Reset()
				serve(&ctx)
				if ctx.Response.StatusCode() != 200 {
					b.Fatal(ctx.Response.String())
				}
			}
		})
	}
}
