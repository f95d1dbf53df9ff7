package api

import (
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/web"
)

// FuzzSync: whatever is posted as a JSON-RPC call gets an answer of JSON-RPC, or
// is said to be none.
func FuzzSync(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"call","params":{"product_id":42}}`, `{"id":"x","params":{"product_id":"42"}}`,
		`{"id":null,"params":{"product_id":9.7}}`, `{"params":{"product_id":1e400}}`, `{"id":{"a":[1]},"params":{}}`, `[]`, ``, `{"params":[]}`,
	} {
		f.Add([]byte(seed))
	}
	templates, err := render.Load(render.Config{Files: []fs.FS{web.Templates}})
	if err != nil {
		f.Fatal(err)
	}
	assets, err := LoadAssets(web.Assets)
	if err != nil {
		f.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1}) // nobody is there
	f.Cleanup(func() { rdb.Close() })
	log := slog.New(slog.DiscardHandler)
	cache := render.NewCache(one{}, rdb, store.NamedShop("tests"), templates, render.CacheConfig{Log: log})
	serve := (&Public{Cache: cache, Templates: templates, Assets: assets, Log: log}).App().Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("POST")
		ctx.Request.SetRequestURI("/product/tree/sync")
		ctx.Request.SetBody(body)
		serve(&ctx)
		answer := ctx.Response.Body()
		switch ctx.Response.StatusCode() {
		case 200:
			var said struct {
				ID            json.RawMessage
				Result, Error json.RawMessage
			}
			var asked struct{ ID json.RawMessage }
			if json.Unmarshal(answer, &said) != nil || json.Unmarshal(body, &asked) != nil || (said.Result == nil) == (said.Error == nil) {
				t.Errorf("%s: %s", body, answer)
			}
		case 400, 413:
			if !json.Valid(answer) {
				t.Errorf("%s: %s", body, answer)
			}
		default:
			t.Errorf("%s: %d %s", body, ctx.Response.StatusCode(), answer)
		}
	})
}

// FuzzNetworks: a network that is taken has its own address in it.
func FuzzNetworks(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "::1", "fe80::1%eth0", "10.0.0.1/33", "", "10.0.0.0/8,x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		networks, err := ParseNetworks(strings.Split(text, ","))
		if err != nil {
			return
		}
		for _, network := range networks {
			if !covers(networks, network.Addr()) && network.Addr().Zone() == "" {
				t.Errorf("%v is not in itself", network)
			}
		}
		if len(networks) == 0 && covers(networks, netip.MustParseAddr("127.0.0.1")) {
			t.Error("nobody is to be trusted")
		}
	})
}
