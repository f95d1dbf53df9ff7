package api

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

// A made page is the bytes of a page, and what they were made of: for as long as
// that is so they are the page. It is never changed.
type made struct {
	body   []byte
	etag   string
	status int

	edition any // of the templates
	assets  string
	lists   [2]any      // what was read for it, by their pointers
	shown   []store.Rev // whose fragments are in it
	whole   bool        // nothing is left out that could not be had
}

// A pageKey says which page it is.
type pageKey struct {
	lang string
	browse
	product int64 // 0: it is a list
}

// pages are those that were asked for last, up to some bytes.
type pages struct{ *otter.Cache[pageKey, *made] }

func newPages(bytes int64) pages {
	return pages{otter.Must(&otter.Options[pageKey, *made]{
		MaximumWeight: uint64(bytes),
		Weigher:       func(_ pageKey, m *made) uint32 { return uint32(len(m.body) + 48*len(m.shown) + 500) },
	})}
}

// fit: the page is what it would be if it were made now, of these lists.
func (p *Public) fit(m *made, lists [2]any) bool {
	return m.lists == lists && m.edition == p.Templates.Edition() && m.assets == p.Assets.Path() && p.shows(m)
}

// shows: each product in it is in the newest version that is known.
func (p *Public) shows(m *made) bool {
	for _, r := range m.shown {
		if p.Cache.Newest(r.ID) != r.Version {
			return false
		}
	}
	return true
}

// make makes a page, and keeps it if it is whole.
func (p *Public) make(key pageKey, name string, page render.Page, m *made) (*made, error) {
	page.Assets, page.Shelf.Searchable = m.assets, longestText
	var html bytes.Buffer
	if err := p.Templates.Page(&html, name, page); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(html.Bytes())
	m.body, m.etag, m.status = html.Bytes(), `"`+hex.EncodeToString(sum[:12])+`"`, page.Status
	if m.whole {
		p.pages.Set(key, m)
	}
	return m, nil
}

// send answers with a page.
func (m *made) send(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-cache") // ask each time: a 304 is cheap
	c.Set(fiber.HeaderETag, m.etag)
	if (m.status == 0 || m.status == fiber.StatusOK) && matches(c.Get(fiber.HeaderIfNoneMatch), m.etag) {
		return c.SendStatus(fiber.StatusNotModified)
	}
	if m.status != 0 {
		c.Status(m.status)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(m.body) // not copied
}

// matches: the header If-None-Match has the tag, be it as a weak one (RFC 9110,
// 13.1.2).
func matches(header, etag string) bool {
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
