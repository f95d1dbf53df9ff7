package api

import (
	"errors"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/text/language"
)

// ParseOrigin reads the origin of a shop, as https://shop.example.
func ParseOrigin(text string) (string, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", errors.New("it is to be a scheme and a host, as https://shop.example")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

// home is GET /: the shop, in the language that the visitor prefers of those that
// it has.
func (p *Public) home() fiber.Handler {
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
