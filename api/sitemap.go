package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"shelfcast/store"
)

// The sitemap (https://www.sitemaps.org/protocol.html): an index, and a file for
// each stretch of ids, which so has the same products in it each time.
const (
	mapURLs = 50_000           // of a file, at most
	mapAge  = 10 * time.Minute // for which it is taken to be what it was
	mapsMax = 64               // files that are kept, compressed: half a megabyte each
	mapRead = 2000             // products that are read at a time
	mapRows = "/sitemaps/products-%d.xml"
)

// stretch is how many ids a file has: each product is there once a language.
func (p *Public) stretch() int64 { return int64(mapURLs / len(p.Templates.Languages())) }

func (p *Public) openMaps(stale func(error)) {
	s := &p.storefront
	s.parts = newFresh(1, &fresh[[]store.Stretch]{
		keep: mapAge, same: slices.Equal[[]store.Stretch], stale: stale,
		read: func(ctx context.Context, _ string) (found []store.Stretch, err error) {
			err = inTurn(ctx, s.turns, func() (err error) { found, err = p.DB.Stretches(ctx, p.stretch()); return err })
			return found, err
		},
	})
	s.maps = newFresh(mapsMax, &fresh[[]byte]{
		keep: mapAge, same: bytes.Equal, stale: stale,
		read: func(ctx context.Context, key string) ([]byte, error) {
			number, err := strconv.ParseInt(key, 10, 64)
			if err != nil {
				return nil, err
			}
			return p.compressed(ctx, number)
		},
	})
}

// errNoMap: a sitemap names whole URLs, and a visitor's word for the host is not
// to be in what crawlers and caches keep.
var errNoMap = fiber.NewError(fiber.StatusNotFound, "there is no sitemap without --public-url")

// robots is GET /robots.txt. Without a public URL it names no sitemap.
func (p *Public) robots(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "public, max-age=3600")
	c.Set(fiber.HeaderContentType, fiber.MIMETextPlainCharsetUTF8)
	text := "User-agent: *\nDisallow: /live\nDisallow: /fragments\n"
	if p.PublicURL != "" {
		text += "\nSitemap: " + p.PublicURL + "/sitemap.xml\n"
	}
	return c.SendString(text)
}

// sitemap is GET /sitemap.xml: the index.
func (p *Public) sitemap(c *fiber.Ctx) error {
	if p.PublicURL == "" {
		return errNoMap
	}
	parts, err := p.storefront.parts.get(c.UserContext(), "", nil)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	body.WriteString(xml.Header + `<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">` + "\n")
	origin := escaped(p.PublicURL)
	for _, part := range *parts {
		fmt.Fprintf(&body, "<sitemap><loc>%s"+mapRows+"</loc><lastmod>%s</lastmod></sitemap>\n", origin, part.Number+1, lastmod(part.Newest))
	}
	body.WriteString("</sitemapindex>\n")
	return sendXML(c, body.Bytes())
}

// products is GET /sitemaps/products-{n}.xml. It is kept compressed.
func (p *Public) products(c *fiber.Ctx) error {
	if p.PublicURL == "" {
		return errNoMap
	}
	number, err := strconv.ParseInt(c.Params("number"), 10, 64)
	parts, failed := p.storefront.parts.get(c.UserContext(), "", nil)
	if failed != nil {
		return failed
	}
	if err != nil || !slices.ContainsFunc(*parts, func(s store.Stretch) bool { return s.Number == number-1 }) {
		return fiber.ErrNotFound
	}
	body, err := p.storefront.maps.get(c.UserContext(), strconv.FormatInt(number-1, 10), nil)
	if err != nil {
		return err
	}
	c.Vary(fiber.HeaderAcceptEncoding)
	if c.Get(fiber.HeaderAcceptEncoding) != "" && c.AcceptsEncodings("gzip") == "gzip" {
		c.Set(fiber.HeaderContentEncoding, "gzip")
		return sendXML(c, *body)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(*body))
	if err != nil {
		return err
	}
	setXML(c)
	return c.SendStream(unpacked)
}

func setXML(c *fiber.Ctx) {
	c.Set(fiber.HeaderCacheControl, "public, max-age=600")
	c.Set(fiber.HeaderContentType, "application/xml; charset=utf-8")
}

func sendXML(c *fiber.Ctx, body []byte) error {
	setXML(c)
	return c.Send(body)
}

// compressed reads a file's products, some at a time, so that what is in memory
// of it is what it is compressed to.
func (p *Public) compressed(ctx context.Context, number int64) ([]byte, error) {
	var body bytes.Buffer
	packed := gzip.NewWriter(&body)
	io.WriteString(packed, xml.Header+`<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:xhtml="http://www.w3.org/1999/xhtml">`+"\n")
	first, last := number*p.stretch(), (number+1)*p.stretch()
	for at := first; at < last; {
		var some []store.Slot
		err := inTurn(ctx, p.turns, func() (err error) {
			some, err = p.DB.Shelf(ctx, store.Shelf{After: &store.Place{ID: at}, Limit: int(min(mapRead, last-at))})
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, slot := range some {
			if slot.ID <= last {
				p.mapProduct(packed, p.PublicURL, slot)
			}
		}
		if len(some) == 0 || some[len(some)-1].ID >= last {
			break
		}
		at = some[len(some)-1].ID
	}
	io.WriteString(packed, "</urlset>\n")
	err := packed.Close()
	return body.Bytes(), err
}

// mapProduct writes a product's pages, each with those in the other languages.
func (p *Public) mapProduct(to io.Writer, origin string, slot store.Slot) {
	languages := p.Templates.Languages()
	var others strings.Builder
	if len(languages) > 1 {
		for _, l := range languages {
			fmt.Fprintf(&others, `<xhtml:link rel="alternate" hreflang="%s" href="%s"/>`, l.Tag, escaped(origin+l.ProductPath(slot.ID)))
		}
	}
	for _, l := range languages {
		fmt.Fprintf(to, "<url><loc>%s</loc><lastmod>%s</lastmod>%s</url>\n", escaped(origin+l.ProductPath(slot.ID)), lastmod(slot.Version), others.String())
	}
}

// lastmod is when a version was made.
func lastmod(version int64) string { return time.UnixMicro(version).UTC().Format(time.RFC3339) }

func escaped(text string) string {
	var out strings.Builder
	xml.EscapeText(&out, []byte(text)) // to memory, which takes all
	return out.String()
}
