package serve

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"shelfcast/api"
	"shelfcast/render"
	"shelfcast/web"
)

// Check says what New would say of the settings, all of it together, and opens
// nothing but the folders that they name.
func (s Settings) Check() error {
	var all []error
	add := func(what string, err error) {
		if err != nil {
			all = append(all, fmt.Errorf("%s%w", what, err))
		}
	}
	add("", s.check())
	_, err := api.ParseNetworks(s.TrustedProxies)
	add("--trusted-proxies: ", err)
	if s.PublicURL != "" {
		_, err := api.ParseOrigin(s.PublicURL)
		add("--public-url: ", err)
	}
	templates, err := s.templates()
	add("", err)
	if err == nil {
		if view := cmp.Or(s.Odoo.View, string(render.Card)); !knows(templates, view) {
			add("--odoo-view: ", fmt.Errorf("there is no view %q", view))
		}
	}
	_, err = api.LoadAssets(before(s.Assets, web.Assets)...)
	add("--assets: ", err)
	return errors.Join(all...)
}

func knows(templates *render.Templates, view string) bool {
	_, ok := templates.ParseView(view)
	return ok
}

// OpenRedis makes a client as an instance's. Nothing need be reachable yet.
func (s Settings) OpenRedis() (redis.UniversalClient, error) {
	return newRedis(cmp.Or(s.Redis, "redis://127.0.0.1:6379/0"), s.RedisCA)
}
