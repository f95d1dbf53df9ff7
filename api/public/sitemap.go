package public

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

// The sitemap (https://www.sitemaps.org/protocol.html): an index, and a file for each range of ids, so that a product
// stays in its file.
const (
	maxSitemapURLs = 50_000           // per file, at most
	sitemapAge     = 10 * time.Minute // how long it is fresh
	maxSitemaps    = 64               // cached files, compressed to half a megabyte each
	sitemapBatch   = 2000             // products read at a time
	sitemapPath    = "/sitemaps/products-%d.xml"
)

// idsPerSitemap returns how many ids a file covers: each product has a URL per language.
func (p *App) idsPerSitemap() int64 { return int64(maxSitemapURLs / len(p.Templates.Languages())) }

func (p *App) openSitemaps(stale func(error)) {
	s := &p.storefront
	s.sitemapRanges = newStaleCache(1, &staleCache[[]store.IDRange]{
		freshFor: sitemapAge, equal: slices.Equal[[]store.IDRange], onStale: stale,
		read: func(ctx context.Context, _ string) (found []store.IDRange, worked time.Duration, err error) {
			worked, err = withSlot(ctx, s.listReads,
				func() (err error) { found, err = p.DB.IDRanges(ctx, p.idsPerSitemap()); return err })
			return found, worked, err
		},
	})
	s.sitemapFiles = newStaleCache(maxSitemaps, &staleCache[[]byte]{
		freshFor: sitemapAge, equal: bytes.Equal, onStale: stale,
		read: func(ctx context.Context, key string) (packed []byte, worked time.Duration, err error) {
			number, err := strconv.ParseInt(key, 10, 64)
			if err != nil {
				return nil, 0, err
			}
			return p.renderSitemap(ctx, number)
		},
	})
}

// errNoSitemap is the answer without a public URL: a sitemap has absolute URLs, and a host from a request, which may be
// forged, must not get into what crawlers and caches keep.
var errNoSitemap = fiber.NewError(fiber.StatusNotFound, "there is no sitemap without --public-url")

// robots is GET /robots.txt. Without a public URL it names no sitemap.
func (p *App) robots(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "public, max-age=3600")
	c.Set(fiber.HeaderContentType, fiber.MIMETextPlainCharsetUTF8)
	text := "User-agent: *\nDisallow: /live\nDisallow: /fragments\n"
	if p.PublicURL != "" {
		text += "\nSitemap: " + p.PublicURL + "/sitemap.xml\n"
	}
	return c.SendString(text)
}

// sitemap is GET /sitemap.xml: the index.
func (p *App) sitemap(c *fiber.Ctx) error {
	if p.PublicURL == "" {
		return errNoSitemap
	}
	parts, err := p.storefront.sitemapRanges.get(c.UserContext(), "", nil)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	body.WriteString(xml.Header + `<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">` + "\n")
	origin := escapeXML(p.PublicURL)
	for _, part := range *parts {
		fmt.Fprintf(&body, "<sitemap><loc>%s"+sitemapPath+"</loc><lastmod>%s</lastmod></sitemap>\n",
			origin, part.Number+1, lastmod(part.Newest))
	}
	body.WriteString("</sitemapindex>\n")
	return sendXML(c, body.Bytes())
}

// sitemapFile is GET /sitemaps/products-{n}.xml. Files are cached compressed.
func (p *App) sitemapFile(c *fiber.Ctx) error {
	if p.PublicURL == "" {
		return errNoSitemap
	}
	number, err := strconv.ParseInt(c.Params("number"), 10, 64)
	parts, failed := p.storefront.sitemapRanges.get(c.UserContext(), "", nil)
	if failed != nil {
		return failed
	}
	if err != nil || !slices.ContainsFunc(*parts, func(s store.IDRange) bool { return s.Number == number-1 }) {
		return fiber.ErrNotFound
	}
	body, err := p.storefront.sitemapFiles.get(c.UserContext(), strconv.FormatInt(number-1, 10), nil)
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

// renderSitemap renders a file. It reads products in batches and compresses at once, so that only the compressed file
// is in memory.
func (p *App) renderSitemap(ctx context.Context, number int64) (file []byte, worked time.Duration, err error) {
	var body bytes.Buffer
	packed := gzip.NewWriter(&body)
	io.WriteString(packed, xml.Header+`<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"`+
		` xmlns:xhtml="http://www.w3.org/1999/xhtml">`+"\n")
	first, last := number*p.idsPerSitemap(), (number+1)*p.idsPerSitemap()
	for at := first; at < last; {
		var some []store.StorefrontItem
		took, err := withSlot(ctx, p.listReads, func() (err error) {
			some, err = p.DB.Storefront(ctx,
				store.StorefrontQuery{After: &store.Cursor{ID: at}, Limit: int(min(sitemapBatch, last-at))})
			return err
		})
		worked += took
		if err != nil {
			return nil, worked, err
		}
		for _, item := range some {
			if item.ID <= last {
				p.writeSitemapURLs(packed, p.PublicURL, item)
			}
		}
		if len(some) == 0 || some[len(some)-1].ID >= last {
			break
		}
		at = some[len(some)-1].ID
	}
	io.WriteString(packed, "</urlset>\n")
	err = packed.Close()
	return body.Bytes(), worked, err
}

// writeSitemapURLs writes a product's pages, each with links to the other languages.
func (p *App) writeSitemapURLs(to io.Writer, origin string, item store.StorefrontItem) {
	languages := p.Templates.Languages()
	var others strings.Builder
	if len(languages) > 1 {
		for _, l := range languages {
			fmt.Fprintf(&others, `<xhtml:link rel="alternate" hreflang="%s" href="%s"/>`,
				l.Tag, escapeXML(origin+l.ProductPath(item.ID)))
		}
	}
	for _, l := range languages {
		fmt.Fprintf(to, "<url><loc>%s</loc><lastmod>%s</lastmod>%s</url>\n",
			escapeXML(origin+l.ProductPath(item.ID)), lastmod(item.Version), others.String())
	}
}

// lastmod returns when a version was made.
func lastmod(version int64) string { return time.UnixMicro(version).UTC().Format(time.RFC3339) }

func escapeXML(text string) string {
	var out strings.Builder
	xml.EscapeText(&out, []byte(text)) // writing to memory cannot fail
	return out.String()
}
