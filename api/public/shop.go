package public

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/semaphore"

	"shelfcast/api/auth"
	"shelfcast/api/httpx"
	"shelfcast/api/problem"
	"shelfcast/render"
	"shelfcast/store"
)

// Limits of what the shop's pages cache and read.
const (
	listAge        = time.Second           // how long a list is fresh
	vendorsAge     = 10 * time.Second      // how long the vendors are fresh
	maxLists       = 2000                  // cached lists
	maxPageBytes   = 16 << 20              // cached pages, in bytes
	maxVendors     = 16                    // vendors on a page
	maxListReads   = 4                     // concurrent reads of lists
	maxSearchReads = 2                     // of these, text searches, which read all products
	slotWait       = time.Second           // how long a read waits for one of those to end
	workPerCall    = 10 * time.Millisecond // work of the database that costs one call of the searches rate
)

// A storefront is what the pages of the shop are rendered from, besides fragments.
type storefront struct {
	lists         *staleCache[[]store.StorefrontItem] // by the JSON of a store.StorefrontQuery
	vendors       *staleCache[[]string]               // by ""
	sitemapRanges *staleCache[[]store.IDRange]
	sitemapFiles  *staleCache[[]byte]
	pages         pages
	listReads     *semaphore.Weighted
	searchReads   *semaphore.Weighted // acquired before listReads
}

func (p *App) openStorefront() {
	s := &p.storefront
	s.pages, s.listReads, s.searchReads = newPages(maxPageBytes),
		semaphore.NewWeighted(maxListReads), semaphore.NewWeighted(maxSearchReads)
	stale := func(err error) { p.Log.Warn("reading lists of the shop failed; showing stale ones", "error", err) }
	s.lists = newStaleCache(maxLists, &staleCache[[]store.StorefrontItem]{
		freshFor: listAge, equal: slices.Equal[[]store.StorefrontItem],
		onStale: stale, generation: func() int64 { return p.Cache.Resets() },
		read: func(ctx context.Context, key string) (found []store.StorefrontItem, worked time.Duration, err error) {
			var query store.StorefrontQuery
			if err := json.Unmarshal([]byte(key), &query); err != nil {
				return nil, 0, err
			}
			read := func() (err error) { found, err = p.DB.Storefront(ctx, query); return err }
			if query.Text == "" {
				worked, err = withSlot(ctx, s.listReads, read)
				return found, worked, err
			}
			_, err = withSlot(ctx, s.searchReads,
				func() (err error) { worked, err = withSlot(ctx, s.listReads, read); return err })
			return found, worked, err
		},
	})
	s.vendors = newStaleCache(1, &staleCache[[]string]{
		freshFor: vendorsAge, equal: slices.Equal[[]string], onStale: stale,
		read: func(ctx context.Context, _ string) (found []string, worked time.Duration, err error) {
			worked, err = withSlot(ctx, s.listReads,
				func() (err error) { found, err = p.DB.Vendors(ctx, maxVendors); return err })
			return found, worked, err
		},
	})
	p.openSitemaps(stale)
}

// withSlot reads the database when a slot is free, and returns how long that took without the wait. It keeps visitors
// from taking the database's capacity for edits.
func withSlot(ctx context.Context, slots *semaphore.Weighted, read func() error) (worked time.Duration, err error) {
	waiting, cancel := context.WithTimeout(ctx, slotWait)
	defer cancel()
	if err := slots.Acquire(waiting, 1); err != nil {
		return 0, render.ErrBusy
	}
	defer slots.Release(1)
	start := time.Now()
	err = read()
	return time.Since(start), err
}

// errTooManySearches means that the address has asked for too many lists and searches that were not in memory.
var errTooManySearches = problem.New(fiber.StatusTooManyRequests,
	"too-many-searches", "search is busy, try again in a moment")

// searchPermit returns the permit for reading a list for this request. Anyone can make up new searches and cursors, and
// what each costs depends on the number of products. So a list costs its address one call of the rate for each
// workPerCall of the database's work, but at most a tenth of the rate, so that a few slow searches do not lock a
// visitor out of a large shop. That tenth is taken first, and what the list did not cost is given back. If it is not
// available, the permit returns errTooManySearches.
func (p *App) searchPermit(c *fiber.Ctx) readPermit {
	from := httpx.AddressKey(httpx.ClientAddr(c, p.TrustedProxies)) // now, since the request may be over by then
	rate := auth.Rate{Name: auth.SearchesRate, Calls: p.Searches, Per: time.Minute}
	most := max(p.Searches/10, 1)
	return func(ctx context.Context) (func(time.Duration), error) {
		if p.Limiter == nil {
			return func(time.Duration) {}, nil
		}
		taken := p.Limiter.Take(ctx, rate, from, most)
		if !taken.OK {
			return nil, errTooManySearches
		}
		return func(worked time.Duration) {
			cost := min(1+int(worked/workPerCall), most)
			p.Limiter.GiveBack(ctx, rate, from, most-cost, taken)
		}, nil
	}
}

// shop is GET /shop in a language: a page of cards.
func (p *App) shop(lang render.Language) fiber.Handler {
	plain := string(p.listKey(shopQuery{}))
	return func(c *fiber.Ctx) error {
		q, err := parseShopQuery(c)
		if err != nil {
			return err
		}
		listKey, may := plain, readPermit(nil) // the shop's first page is the same for all
		if q != (shopQuery{}) {
			listKey, may = string(p.listKey(q)), p.searchPermit(c)
		}
		list, ok := p.storefront.lists.peek(listKey)
		if !ok {
			if list, err = p.storefront.lists.get(c.UserContext(), listKey, may); err != nil {
				return err
			}
		}
		vendors, err := p.storefront.vendors.get(c.UserContext(), "", nil)
		if err != nil {
			return err
		}
		key := pageKey{lang: lang.Tag, shopQuery: q}
		read := [2]any{list, vendors}
		if m, ok := p.pages.GetIfPresent(key); ok && p.isCurrent(m, read) {
			return m.send(c)
		}
		m, err := p.renderShop(c.UserContext(), lang, key, *list, *vendors, read)
		if err != nil {
			return err
		}
		return m.send(c)
	}
}

func (p *App) listKey(q shopQuery) []byte {
	key, err := json.Marshal(q.storeQuery(p.PageSize))
	if err != nil {
		panic(err) // strings and numbers can be encoded
	}
	return key
}

// renderShop renders the page of a list.
func (p *App) renderShop(ctx context.Context, lang render.Language, key pageKey,
	list []store.StorefrontItem, vendors []string, read [2]any) (*cachedPage, error) {
	// Read before rendering.
	m := &cachedPage{snapshot: p.Templates.Snapshot(), assets: p.Assets.Path(), lists: read, complete: true}
	q, shop := key.shopQuery, lang.ShopPath()
	list, next, previous := q.trim(list, p.PageSize)
	page := p.newPage(lang, func(l render.Language) string {
		canonical := q
		canonical.sort = "" // another order of the same products
		if canonical.sort != q.sort {
			canonical = canonical.firstPage()
		}
		return canonical.path(l.ShopPath())
	})
	page.NoIndex = q.text != ""
	page.List = render.ListControls{Query: q.text, Vendor: q.vendor, Sort: q.sort,
		Vendors: q.vendorChoices(shop, vendors), Sorts: q.sortChoices(shop)}
	if next {
		on := q.firstPage()
		on.after = q.cursorText(list[len(list)-1].Cursor())
		page.List.Next = on.path(shop)
	}
	if previous {
		on := q.firstPage()
		on.before = q.cursorText(list[0].Cursor())
		page.List.Previous = on.path(shop)
	}
	wants := make([]store.Rev, len(list))
	for i, item := range list {
		wants[i] = item.Rev
	}
	cards, err := p.Cache.Fragments(ctx, lang.View(render.Card), wants)
	for _, f := range cards {
		if f == nil {
			continue
		}
		m.shown = append(m.shown, f.Rev)
		if !f.Unavailable { // since the list was read
			page.Fragments = append(page.Fragments, template.HTML(f.HTML))
		}
	}
	if err != nil {
		if len(page.Fragments) == 0 {
			return nil, err
		}
		// The fragments that there are are right. The others come with the next page that is rendered.
		p.Log.Warn("loading products of a shop page failed; showing it without them",
			"missing", len(wants)-len(m.shown), "error", err)
		m.complete = false
	}
	if page.Description, err = p.Templates.Text(lang.Tag, "shop_description", "Shop", p.Templates.ShopName()); err != nil {
		return nil, err
	}
	page.Structured = listData(p.PublicURL, lang, list)
	return p.renderPage(key, "shop", page, m)
}

// trim returns the list without the extra product, and whether there are a next and a previous page.
func (q shopQuery) trim(list []store.StorefrontItem, size int) (_ []store.StorefrontItem, next, previous bool) {
	more := len(list) > size
	if q.before != "" {
		if more {
			list = list[1:]
		}
		return list, len(list) > 0, more
	}
	if more {
		list = list[:size]
	}
	return list, more, q.after != "" && len(list) > 0
}

// vendorChoices returns links to the results of each vendor.
func (q shopQuery) vendorChoices(shop string, vendors []string) []render.Choice {
	if q.vendor != "" && !slices.Contains(vendors, q.vendor) {
		vendors = append([]string{q.vendor}, vendors...)
	}
	if len(vendors) < 2 && q.vendor == "" {
		return nil
	}
	all := []render.Choice{}
	for _, vendor := range append([]string{""}, vendors...) {
		on := q.firstPage()
		on.vendor = vendor
		all = append(all, render.Choice{Name: vendor, Value: vendor, URL: on.path(shop), Current: vendor == q.vendor})
	}
	return all
}

// sortChoices returns links to the same results in each order.
func (q shopQuery) sortChoices(shop string) (all []render.Choice) {
	for _, sort := range sortNames {
		on := q.firstPage()
		on.sort = sort
		all = append(all, render.Choice{Value: sort, URL: on.path(shop), Current: sort == q.sort})
	}
	return all
}

// newPage returns a page that has that path in each language. Without a public URL the canonical link and the
// structured data have paths, which are relative to the host that serves the page; what has to be an absolute URL is
// left out.
func (p *App) newPage(lang render.Language, path func(render.Language) string) render.Page {
	page := render.Page{Lang: lang.Tag, Canonical: p.PublicURL + path(lang), URL: p.absoluteURL(path(lang))}
	for _, l := range p.Templates.Languages() {
		page.Alternates = append(page.Alternates,
			render.Alternate{Language: l, Path: path(l), URL: p.absoluteURL(path(l)), Current: l.Tag == lang.Tag})
	}
	return page
}

// absoluteURL returns a URL that may be a path as an absolute one, or "" if no public URL is configured.
func (p *App) absoluteURL(url string) string {
	if url = resolveURL(p.PublicURL, url); strings.HasPrefix(url, "/") {
		return ""
	}
	return url
}

// isUnavailable reports whether the database does not answer, or is too busy.
func isUnavailable(err error) bool {
	return errors.Is(err, store.ErrUnavailable) ||
		errors.Is(err, render.ErrBusy) || errors.Is(err, context.DeadlineExceeded)
}
