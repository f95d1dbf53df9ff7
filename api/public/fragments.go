package public

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

	"shelfcast/api/httpx"
	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
)

// fragment is GET /fragments/{view}/{id}?v=VERSION.
func (p *App) fragment(c *fiber.Ctx) error {
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
	c.Set("Surrogate-Key", p.surrogateKeys(realtime.Watch{Rev: want}))
	if setFragmentHeaders(c, f.ETag(),
		f.Version == want.Version && isCanonical(c, "v", strconv.FormatInt(want.Version, 10))) {
		return nil
	}
	return c.Send(f.JSON()) // not copied
}

// maxFragments is how many fragments one request may ask for.
const maxFragments = 100

// fragments is GET /fragments?ids=ID:VERSION:VIEW,…: what changed together, in one request. Products that do not exist
// are left out. If the fragments are more than fit into a frame, next says how many of the list are answered, and the
// client asks again for the rest.
func (p *App) fragments(c *fiber.Ctx) error {
	if err := onlyParameter(c, "ids"); err != nil {
		return err
	}
	list, err := p.watchList(c.Query("ids"))
	if err != nil {
		return err
	}
	if len(list) == 0 || len(list) > maxFragments {
		return fiber.NewError(fiber.StatusBadRequest,
			fmt.Sprintf("ids must have 1 to %d items of ID:VERSION:VIEW", maxFragments))
	}
	return p.answer(c, httpx.ClientAddr(c, p.TrustedProxies), func() (net.Buffers, error) {
		found, err := p.loadEach(c.UserContext(), list)
		if err != nil {
			return nil, err
		}
		texts, tag, exact, next := fillFrame(list, found)
		c.Set("Surrogate-Key", p.surrogateKeys(list[:next]...))
		if setFragmentHeaders(c, tag, exact && isCanonical(c, "ids", canonicalList(list))) {
			return nil, nil
		}
		if next == len(list) {
			next = 0
		}
		return realtime.Frame(realtime.Full, texts, next), nil
	})
}

// onlyParameter refuses a query with any other parameter, or with this one twice: caches would store the same answer
// once more for each variant of the URL.
func onlyParameter(c *fiber.Ctx, name string) error {
	seen := 0
	var other string
	for key := range c.Context().QueryArgs().All() {
		if string(key) != name {
			other = string(key)
		}
		seen++
	}
	if other != "" || seen > 1 {
		return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("the query must have %s once, and nothing else", name))
	}
	return nil
}

// isCanonical reports whether the query is written as the client writes it. Only then may caches keep the answer for
// ever. Other spellings get the same answer.
func isCanonical(c *fiber.Ctx, name, value string) bool {
	query := c.Context().URI().QueryString()
	return string(query) == name+"="+value
}

// canonicalList returns a list as the client writes it: by view, then by id.
func canonicalList(list []realtime.Watch) string {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b realtime.Watch) int {
		return cmp.Or(cmp.Compare(a.View, b.View), cmp.Compare(a.ID, b.ID))
	})
	items := make([]string, len(sorted))
	for i, w := range sorted {
		items[i] = fmt.Sprintf("%d:%d:%s", w.ID, w.Version, w.View)
	}
	return strings.Join(items, ",")
}

// fillFrame returns the fragments of a list that fit into a frame, and how many items of the list those are. exact
// reports whether they have just the requested versions.
func fillFrame(list []realtime.Watch, found []*render.Fragment) (texts [][]byte, tag string, exact bool, next int) {
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

// loadEach returns the fragments of the list, nil where there is none. It loads those of one view together.
func (p *App) loadEach(ctx context.Context, list []realtime.Watch) ([]*render.Fragment, error) {
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

// surrogateKeys returns the names by which a CDN can purge an answer: one per product, and one of the
// templates, which a URL does not name.
func (p *App) surrogateKeys(products ...realtime.Watch) string {
	names := make([]string, 0, len(products)+1)
	for _, w := range products {
		names = append(names, fmt.Sprintf("product-%d", w.ID))
	}
	return strings.Join(append(names, "templates-"+p.Templates.Hash()), " ")
}

// setFragmentHeaders sets the headers of an answer, and reports whether the client has the content already (304).
func setFragmentHeaders(c *fiber.Ctx, tag string, exact bool) (whole bool) {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	if exact {
		c.Set(fiber.HeaderCacheControl, httpx.CacheForever)
	}
	if whole = c.Get(fiber.HeaderIfNoneMatch) == tag; whole {
		c.Status(fiber.StatusNotModified)
	}
	return whole
}
