package public

import (
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"shelfcast/api/apitest"
	"shelfcast/api/httpx"
	"shelfcast/testkit"
	"shelfcast/web"
)

// BenchmarkSync measures POST /product/tree/sync through the whole app but the socket, while the cache may answer from
// memory and while it has to ask the database for versions.
func BenchmarkSync(b *testing.B) {
	templates := apitest.Templates(b)
	assets, err := httpx.LoadAssets(web.Assets...)
	if err != nil {
		b.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: testkit.StartRedis(b).Addr()})
	defer rdb.Close()
	for name, trusted := range map[string]time.Duration{"current=memory": time.Hour, "current=database": 0} {
		b.Run(name, func(b *testing.B) {
			log := slog.New(slog.DiscardHandler)
			cache := apitest.NewCache(rdb, templates, trusted)
			serve := (&App{Cache: cache, Templates: templates, Assets: assets, Log: log}).Fiber().Handler()
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
