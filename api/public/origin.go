package public

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/text/language"

	"shelfcast/api/problem"
	"shelfcast/realtime"
)

// ParseOrigin parses the origin of a shop, such as https://shop.example.
func ParseOrigin(text string) (string, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", errors.New("must be a scheme and a host, such as https://shop.example")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

// originAllowed reports whether the requesting page has this host or an origin on the list. Browsers always send an
// Origin; programs need not. The host is that of the Host header, which a page cannot set; X-Forwarded-Host may be
// forged.
func (p *App) originAllowed(c *fiber.Ctx) bool {
	origin := c.Get(fiber.HeaderOrigin)
	if origin == "" || origin == p.PublicURL || slices.Contains(p.Origins, "*") || slices.Contains(p.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, string(c.Request().Host()))
}

// checkOrigin returns realtime.ErrOrigin if the page's origin is not allowed. The refusal is counted, and logged at
// most once a minute with both origins and the setting to change: the usual cause is a proxy in front of the shop that
// does not pass Host on. Any page may read the answer, so that its client can log the reason in the console.
func (p *App) checkOrigin(c *fiber.Ctx) error {
	if p.originAllowed(c) {
		return nil
	}
	p.Hub.RefuseOrigin()
	p.originsLogged.Do(func() {
		own := cmp.Or(p.PublicURL, string(c.Request().Host()))
		p.Log.Warn("session refused: the page's origin is not allowed",
			"origin", problem.Shorten(c.Get(fiber.HeaderOrigin)), "own", problem.Shorten(own), "allowed", p.Origins,
			"to_do", "if it is the shop's, name it in --origins, or set --public-url, or have the proxy pass Host on")
	})
	c.Set(fiber.HeaderAccessControlAllowOrigin, "*")
	return realtime.ErrOrigin
}

// home is GET /: a redirect to the shop in the visitor's preferred language.
func (p *App) home() fiber.Handler {
	languages := p.Templates.Languages()
	tags := make([]language.Tag, len(languages))
	for i, l := range languages {
		tags[i] = language.MustParse(l.Tag)
	}
	matcher := language.NewMatcher(tags)
	return func(c *fiber.Ctx) error {
		at := 0
		if len(tags) > 1 {
			c.Vary(fiber.HeaderAcceptLanguage)
			prefers, _, err := language.ParseAcceptLanguage(c.Get(fiber.HeaderAcceptLanguage))
			if err == nil && len(prefers) > 0 {
				_, at, _ = matcher.Match(prefers...)
			}
		}
		return c.Redirect(languages[at].ShopPath())
	}
}
