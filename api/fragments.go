package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
)

// forEver is for what is exactly the versions that its URL names.
const forEver = "public, max-age=31536000, immutable"

// fragment is GET /fragments/{view}/{id}?v=VERSION.
func (p *Public) fragment(c *fiber.Ctx) error {
	view, ok := p.Cache.ParseView(c.Params("view"))
	if !ok {
		return fiber.NewError(fiber.StatusNotFound, "there is no such view")
	}
	id, err := parseID(c.Params("id"))
	if err != nil {
		return err
	}
	if err := onlyParameter(c, "v"); err != nil {
		return err
	}
	want := store.Rev{ID: id}
	if v := c.Query("v"); v != "" {
		if want.Version, err = strconv.ParseInt(v, 10, 64); err != nil || want.Version < 0 {
			return fiber.NewError(fiber.StatusBadRequest, "v is not a version")
		}
	}
	f, err := p.Cache.Fragment(c.UserContext(), view, want)
	if err != nil {
		return err
	}
	c.Set("Surrogate-Key", p.surrogates(realtime.Watch{Rev: want}))
	if headFragments(c, f.ETag(), f.Version == want.Version && asPlain(c, "v", strconv.FormatInt(want.Version, 10))) {
		return nil
	}
	return c.Send(f.JSON()) // not copied
}

// mostFragments is how many one request may ask for.
const mostFragments = 100

// fragments is GET /fragments?ids=ID:VERSION:VIEW,…: what changed together, in
// one request. Products that there are not are left out. If it is more than a frame
// full, next says how many of the list are answered: the rest is asked for anew.
func (p *Public) fragments(c *fiber.Ctx) error {
	if err := onlyParameter(c, "ids"); err != nil {
		return err
	}
	list, err := p.watchList(c.Query("ids"))
	if err != nil {
		return err
	}
	if len(list) == 0 || len(list) > mostFragments {
		return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("ids has 1 to %d of ID:VERSION:VIEW", mostFragments))
	}
	return p.answer(c, clientOf(c, p.TrustedProxies), func() (net.Buffers, error) {
		found, err := p.each(c.UserContext(), list)
		if err != nil {
			return nil, err
		}
		texts, tag, exact, next := cut(list, found)
		c.Set("Surrogate-Key", p.surrogates(list[:next]...))
		if headFragments(c, tag, exact && asPlain(c, "ids", plainList(list))) {
			return nil, nil
		}
		if next == len(list) {
			next = 0
		}
		return realtime.Frame(realtime.Full, texts, next), nil
	})
}

// onlyParameter refuses a query that has anything but that parameter, once: whatever
// keeps answers by their address would keep one more of the same for each.
func onlyParameter(c *fiber.Ctx, name string) error {
	seen := 0
	var other string
	c.Context().QueryArgs().VisitAll(func(key, _ []byte) {
		if string(key) != name {
			other = string(key)
		}
		seen++
	})
	if other != "" || seen > 1 {
		return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("the query has %s once, and nothing else", name))
	}
	return nil
}

// asPlain reports whether the query is just that one, as everybody asks it: only such
// an answer is to be kept for ever. Who writes it in other ways gets the same.
func asPlain(c *fiber.Ctx, name, value string) bool {
	query := c.Context().URI().QueryString()
	return string(query) == name+"="+value
}

// plainList is a list as the client writes it: by view, and then by id.
func plainList(list []realtime.Watch) string {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b realtime.Watch) int {
		return cmp.Or(cmp.Compare(a.View, b.View), cmp.Compare(a.ID, b.ID))
	})
	items := make([]string, len(sorted))
	for i, w := range sorted {
		items[i] = fmt.Sprintf("%d:%d:%s", w.ID, w.Version, w.View)
	}
	return strings.Join(items, ",")
}

// cut has the fragments of a list, up to a frame full; next is how many of the
// list that are. Exact: they are just what was asked for.
func cut(list []realtime.Watch, found []*render.Fragment) (texts [][]byte, tag string, exact bool, next int) {
	sum, size := sha256.New(), 0
	exact = true
	for ; next < len(found) && size < realtime.FrameBytes; next++ {
		f, want := found[next], list[next]
		exact = exact && f != nil && want.Version > 0 && f.Version == want.Version
		if f != nil {
			texts = append(texts, f.JSON())
			size += len(f.JSON())
			fmt.Fprint(sum, next, f.View, f.ID, f.ETag())
		}
	}
	fmt.Fprint(sum, " ", next)
	return texts, fmt.Sprintf(`"%x"`, sum.Sum(nil)[:12]), exact, next
}

// each has the fragments of the list, nil for what there is not: those of a view
// at one go.
func (p *Public) each(ctx context.Context, list []realtime.Watch) ([]*render.Fragment, error) {
	places := map[render.View][]int{}
	for i, w := range list {
		places[w.View] = append(places[w.View], i)
	}
	found := make([]*render.Fragment, len(list))
	for view, at := range places {
		wants := make([]store.Rev, len(at))
		for n, i := range at {
			wants[n] = list[i].Rev
		}
		fragments, err := p.Cache.Fragments(ctx, view, wants)
		if err != nil {
			return nil, err
		}
		for n, i := range at {
			found[i] = fragments[n]
		}
	}
	return found, nil
}

// surrogates are the names under which a CDN may be told to drop an answer: of
// each product, and of the templates, which a URL does not name.
func (p *Public) surrogates(products ...realtime.Watch) string {
	names := make([]string, 0, len(products)+1)
	for _, w := range products {
		names = append(names, fmt.Sprintf("product-%d", w.ID))
	}
	return strings.Join(append(names, "templates-"+p.Templates.Hash()), " ")
}

// headFragments sets the headers of an answer, and reports whether that is all: who
// asks has it.
func headFragments(c *fiber.Ctx, tag string, exact bool) (whole bool) {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	if exact {
		c.Set(fiber.HeaderCacheControl, forEver)
	}
	if whole = c.Get(fiber.HeaderIfNoneMatch) == tag; whole {
		c.Status(fiber.StatusNotModified)
	}
	return whole
}
