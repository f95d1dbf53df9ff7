package api

import (
	"io/fs"
	"log/slog"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"shelfcast/render"
	"shelfcast/store/storetest"
	"shelfcast/web"
)

func BenchmarkZZ(b *testing.B) {
	templates, _ := render.Load(render.Config{Files: []fs.FS{web.Templates}})
	assets, _ := LoadAssets(web.Assets)
	rdb := redis.NewClient(&redis.Options{Addr: storetest.StartRedis(b).Addr()})
	log := slog.New(slog.DiscardHandler)
	cache := render.NewCache(one{}, rdb, templates, render.CacheConfig{Log: log})
	cache.Trust(time.Now().Add(time.Hour))
	app := (&Public{Cache: cache, Templates: templates, Assets: assets, Log: log}).App()
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	go app.Listener(l)
	defer app.Shutdown()
	for b.Loop() {
		out, err := exec.Command("wrk", "-t1", "-c64", "-d6s", "-s", "/tmp/p/post.lua", "http://"+l.Addr().String()+"/product/tree/sync").CombinedOutput()
		b.Log(string(out), err)
	}
}
