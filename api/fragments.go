package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/errgroup"

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
	c.Set("Surrogate-Key", p.surrogates(want.ID))
	tag := fmt.Sprintf(`"%d-%s"`, f.Version, p.Templates.Hash())
	return sendFragments(c, f.JSON(), tag, want.Version > 0 && f.Version == want.Version)
}

// mostFragments is how many one request may ask for.
const mostFragments = 100

// fragments is GET /fragments?ids=ID:VERSION:VIEW,…: what changed together, in
// one request. Products that there are not are left out.
func (p *Public) fragments(c *fiber.Ctx) error {
	list, err := p.watchList(c.Query("ids"))
	if err != nil {
		return err
	}
	if len(list) == 0 || len(list) > mostFragments {
		return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("ids has 1 to %d of ID:VERSION:VIEW", mostFragments))
	}
	found, err := p.each(c.UserContext(), list)
	if err != nil {
		return err
	}
	ids := make([]int64, len(list))
	exact := true
	size := 0
	for i, f := range found {
		ids[i] = list[i].ID
		exact = exact && f != nil && list[i].Version > 0 && f.Version == list[i].Version
		if f != nil {
			size += len(f.JSON()) + 1
		}
	}
	body := append(make([]byte, 0, size+20), `{"fragments":[`...)
	var tag strings.Builder
	for _, f := range found {
		if f == nil {
			continue
		}
		if tag.Len() > 0 {
			body = append(body, ',')
		}
		body = append(body, f.JSON()...)
		fmt.Fprintf(&tag, "%s.%d.%d-", f.View, f.ID, f.Version)
	}
	body = append(body, "]}"...)
	c.Set("Surrogate-Key", p.surrogates(ids...))
	return sendFragments(c, body, fmt.Sprintf(`"%s%s"`, tag.String(), p.Templates.Hash()), exact)
}

// each has the fragments of the list, nil for what there is not.
func (p *Public) each(ctx context.Context, list []realtime.Watch) ([]*render.Fragment, error) {
	found := make([]*render.Fragment, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, w := range list {
		g.Go(func() error {
			f, err := p.Cache.Fragment(ctx, w.View, w.Rev)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			found[i] = f
			return err
		})
	}
	return found, g.Wait()
}

// surrogates are the names under which a CDN may be told to drop an answer: of
// each product, and of the templates, which a URL does not name.
func (p *Public) surrogates(ids ...int64) string {
	names := make([]string, 0, len(ids)+1)
	for _, id := range ids {
		names = append(names, fmt.Sprintf("product-%d", id))
	}
	return strings.Join(append(names, "templates-"+p.Templates.Hash()), " ")
}

func sendFragments(c *fiber.Ctx, body []byte, tag string, exact bool) error {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	if exact {
		c.Set(fiber.HeaderCacheControl, forEver)
	}
	if c.Get(fiber.HeaderIfNoneMatch) == tag {
		return c.SendStatus(fiber.StatusNotModified)
	}
	return c.Send(body)
}
