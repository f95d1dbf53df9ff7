package attack

import (
	"io/fs"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"shelfcast/api/admin"
	"shelfcast/api/httpx"
	"shelfcast/api/public"
	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/web"
)

// A route is a route of one of the apps, with values for its parameters.
type route struct {
	method, path string
	admin        bool
}

// routes returns all routes of the two apps, as registered: a new one is attacked
// without a change here.
var routes = sync.OnceValue(func() []route {
	templates, err := render.Load(render.Config{Files: []fs.FS{web.Templates}})
	if err != nil {
		panic(err)
	}
	assets, err := httpx.LoadAssets(web.Assets...)
	if err != nil {
		panic(err)
	}
	log := slog.New(slog.DiscardHandler)
	public := &public.App{Templates: templates, Assets: assets,
		Cache: render.NewCache(nil, nil, store.NewShop(), templates, render.CacheConfig{Log: log}), Log: log}
	admin := &admin.App{Templates: templates, Assets: assets, Metrics: promhttp.Handler(),
		Registerer: prometheus.NewRegistry(), Log: log}
	all := routesOf(public.Fiber(), false)
	if all = append(all, routesOf(admin.Fiber(), true)...); len(all) < 40 {
		panic("there are more routes than these")
	}
	return all
})

var names = regexp.MustCompile(`:[a-z]+|\*`)

func routesOf(app *fiber.App, admin bool) (all []route) {
	values := map[string]string{":view": "card", ":stream": "sse", "*": "styles.css"}
	for _, r := range app.GetRoutes(true) {
		path := strings.ReplaceAll(r.Path, `\:`, "\x00")
		path = names.ReplaceAllStringFunc(path, func(name string) string {
			if value, ok := values[name]; ok {
				return value
			}
			return "1"
		})
		one := route{r.Method, strings.ReplaceAll(path, "\x00", ":"), admin}
		if r.Method != "HEAD" && !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

// at returns the address of the route's app on an instance.
func (r route) at(t target, instance int) string {
	if r.admin {
		return t.Admin[instance]
	}
	return t.Public[instance]
}
