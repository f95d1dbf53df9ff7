package serve

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/redis/go-redis/v9"

	"shelfcast/api"
	"shelfcast/render"
	"shelfcast/web"
)

// readings are what settings come to, before anything but a folder is opened.
type readings struct {
	proxies   []api.Network
	publicURL string // an origin; "": not known
	templates *render.Templates
	odooView  render.View
	assets    *api.Assets
}

// read has all that is wrong with the settings in its error. first are assets that
// stand before theirs.
func (s Settings) read(first ...fs.FS) (r readings, err error) {
	errs := []error{s.check()}
	note := func(what string) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%w", what, err))
		}
	}
	r.proxies, err = api.ParseNetworks(s.TrustedProxies)
	note("--trusted-proxies: ")
	if s.PublicURL != "" {
		r.publicURL, err = api.ParseOrigin(s.PublicURL)
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
	r.assets, err = api.LoadAssets(slices.Concat(first, before(s.Assets, web.Assets))...)
	note("--assets: ")
	return r, errors.Join(errs...)
}

// Check says what New would say of the settings, all of it together, and opens
// nothing but the folders that they name.
func (s Settings) Check() error {
	_, err := s.read()
	return err
}

// OpenRedis makes a client as an instance's. Nothing need be reachable yet.
func (s Settings) OpenRedis() (redis.UniversalClient, error) {
	return newRedis(cmp.Or(s.Redis, "redis://127.0.0.1:6379/0"), s.RedisCA)
}
