package server

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/redis/go-redis/v9"

	"shelfcast/api/httpx"
	"shelfcast/api/public"
	"shelfcast/render"
	"shelfcast/web"
)

// parsed has the parsed values of settings, and the files of their folders.
type parsed struct {
	proxies   []httpx.Network
	publicURL string // an origin; "" if not set
	templates *render.Templates
	odooView  render.View
	assets    *httpx.Assets
}

// parse parses the settings and loads templates and assets. Its error joins all
// errors. Assets in first override those of the settings.
func (s Settings) parse(first ...fs.FS) (r parsed, err error) {
	errs := []error{s.check()}
	note := func(what string) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%w", what, err))
		}
	}
	r.proxies, err = httpx.ParseNetworks(s.TrustedProxies)
	note("--trusted-proxies: ")
	if s.PublicURL != "" {
		r.publicURL, err = public.ParseOrigin(s.PublicURL)
		note("--public-url: ")
	}
	if r.templates, err = s.templates(); err == nil {
		var known bool
		view := cmp.Or(s.Odoo.View, string(render.Card))
		if r.odooView, known = r.templates.ParseView(view); !known {
			err = fmt.Errorf("--odoo-view: there is no view %q", view)
		}
	}
	note("")
	r.assets, err = httpx.LoadAssets(slices.Concat(first, before(s.Assets, web.Assets...))...)
	note("--assets: ")
	return r, errors.Join(errs...)
}

// Check returns the error that New would return for invalid settings. It opens only
// their folders.
func (s Settings) Check() error {
	_, err := s.parse()
	return err
}

// OpenRedis returns a Redis client with the options of an instance. Redis need not be
// reachable yet.
func (s Settings) OpenRedis() (redis.UniversalClient, error) {
	return newRedis(cmp.Or(s.Redis, "redis://127.0.0.1:6379/0"), s.RedisCA)
}
