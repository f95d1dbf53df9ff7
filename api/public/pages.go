package public

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/maypok86/otter/v2"

	"shelfcast/render"
	"shelfcast/store"
)

// A cachedPage is the bytes of a page, and what they were rendered from: while that is unchanged they are the page. It
// is immutable.
type cachedPage struct {
	body   []byte
	etag   string
	status int

	snapshot any // of the templates
	assets   string
	lists    [2]any      // the lists that it was rendered from, by their pointers
	shown    []store.Rev // whose fragments are in it
	complete bool        // no fragment is missing because it could not be loaded
}

// A pageKey identifies a page.
type pageKey struct {
	lang string
	shopQuery
	product int64 // 0: a list
}

// pages caches the pages that were asked for last, up to a number of bytes.
type pages struct {
	*otter.Cache[pageKey, *cachedPage]
}

func newPages(bytes int64) pages {
	return pages{otter.Must(&otter.Options[pageKey, *cachedPage]{
		MaximumWeight: uint64(bytes),
		Weigher:       func(_ pageKey, m *cachedPage) uint32 { return uint32(cap(m.body) + 48*len(m.shown) + 500) },
	})}
}

// isCurrent reports whether the page would be the same if it were rendered now, from these lists.
func (p *App) isCurrent(m *cachedPage, lists [2]any) bool {
	return m.lists == lists && m.snapshot == p.Templates.Snapshot() && m.assets == p.Assets.Path() && p.showsNewest(m)
}

// showsNewest reports whether each product on the page is shown in its newest known version.
func (p *App) showsNewest(m *cachedPage) bool {
	for _, r := range m.shown {
		if p.Cache.Newest(r.ID) != r.Version {
			return false
		}
	}
	return true
}

// renderPage renders a page, and caches it if it is complete.
func (p *App) renderPage(key pageKey, name string, page render.Page, m *cachedPage) (*cachedPage, error) {
	page.Assets, page.List.Searchable = m.assets, maxSearchLength
	var html bytes.Buffer
	if err := p.Templates.Page(&html, name, page); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(html.Bytes())
	m.body, m.etag, m.status = bytes.Clone(html.Bytes()), `"`+hex.EncodeToString(sum[:12])+`"`, page.Status
	if m.complete {
		p.pages.Set(key, m)
	}
	return m, nil
}

// send answers with the page.
func (m *cachedPage) send(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-cache") // revalidate each time: a 304 is cheap
	c.Set(fiber.HeaderETag, m.etag)
	if (m.status == 0 || m.status == fiber.StatusOK) && etagMatches(c.Get(fiber.HeaderIfNoneMatch), m.etag) {
		return c.SendStatus(fiber.StatusNotModified)
	}
	if m.status != 0 {
		c.Status(m.status)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(m.body) // not copied
}

// etagMatches reports whether an If-None-Match header has the tag, also as a weak one (RFC 9110, 13.1.2).
func etagMatches(header, etag string) bool {
	if header == etag {
		return true
	}
	if header == "" {
		return false
	}
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == etag {
			return true
		}
	}
	return false
}
