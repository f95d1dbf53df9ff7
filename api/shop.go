package api

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

	"shelfcast/render"
	"shelfcast/store"
)

// What the shop's pages keep.
const (
	listAge    = time.Second      // for which a list is taken to be what it was
	vendorsAge = 10 * time.Second // for which the vendors are
	lists      = 2000             // lists that are kept
	pageBytes  = 64 << 20         // of whole pages
	mostChips  = 16               // vendors that a page names
	listTurns  = 4                // lists that the database is asked for at a time
	textTurns  = 2                // of these, those that look for a text, which reads all products
	listWait   = time.Second      // of one more, for one of those to end
)

// A storefront is what the pages of the shop are made of besides fragments.
type storefront struct {
	lists   *fresh[[]store.Slot] // by the JSON of a store.Shelf
	vendors *fresh[[]string]     // by ""
	parts   *fresh[[]store.Stretch]
	maps    *fresh[[]byte]
	pages   pages
	turns   *semaphore.Weighted
	texts   *semaphore.Weighted // taken before turns
}

func (p *Public) open() {
	s := &p.storefront
	s.pages, s.turns, s.texts = newPages(pageBytes), semaphore.NewWeighted(listTurns), semaphore.NewWeighted(textTurns)
	stale := func(err error) { p.Log.Warn("lists of the shop are those of before", "error", err) }
	s.lists = newFresh(lists, &fresh[[]store.Slot]{
		keep: listAge, same: slices.Equal[[]store.Slot], stale: stale, epoch: p.Cache.Restores,
		read: func(ctx context.Context, key string) (found []store.Slot, err error) {
			var shelf store.Shelf
			if err := json.Unmarshal([]byte(key), &shelf); err != nil {
				return nil, err
			}
			read := func() (err error) { found, err = p.DB.Shelf(ctx, shelf); return err }
			if shelf.Text == "" {
				err = inTurn(ctx, s.turns, read)
			} else {
				err = inTurn(ctx, s.texts, func() error { return inTurn(ctx, s.turns, read) })
			}
			return found, err
		},
	})
	s.vendors = newFresh(1, &fresh[[]string]{
		keep: vendorsAge, same: slices.Equal[[]string], stale: stale,
		read: func(ctx context.Context, _ string) (found []string, err error) {
			err = inTurn(ctx, s.turns, func() (err error) { found, err = p.DB.Vendors(ctx, mostChips); return err })
			return found, err
		},
	})
	p.openMaps(stale)
}

// inTurn reads the database when it is one's turn: what anybody can ask for is not
// to take what edits need.
func inTurn(ctx context.Context, turns *semaphore.Weighted, read func() error) error {
	wait, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	if err := turns.Acquire(wait, 1); err != nil {
		return render.ErrBusy
	}
	defer turns.Release(1)
	return read()
}

// ErrSearches: the address has asked for too many lists and searches that were
// not in memory.
var ErrSearches = errors.New("search is busy, try again in a moment")

// search returns what is to be called before a list is read for the request: it
// takes one from the rate of the address, and returns ErrSearches if there is
// none. Anybody can think of ever new searches, and of places in lists that no
// page has; each is work for the database.
func (p *Public) search(c *fiber.Ctx) func(context.Context) error {
	from := clientOf(c, p.TrustedProxies) // now: the request may be over by then
	return func(ctx context.Context) error {
		if p.Limiter == nil || p.Limiter.Take(ctx, Rate{searchesRate, p.Searches, time.Minute}, addressKey(from)).OK {
			return nil
		}
		return ErrSearches
	}
}

// shop is GET /shop in a language: a page of cards.
func (p *Public) shop(lang render.Language) fiber.Handler {
	plain := string(p.listKey(browse{}))
	return func(c *fiber.Ctx) error {
		b, err := parseBrowse(c)
		if err != nil {
			return err
		}
		listKey := plain
		if b != (browse{}) {
			listKey = string(p.listKey(b))
		}
		list, ok := p.storefront.lists.now(listKey)
		if !ok {
			if list, err = p.storefront.lists.get(c.UserContext(), listKey, p.search(c)); err != nil {
				return err
			}
		}
		vendors, err := p.storefront.vendors.get(c.UserContext(), "", nil)
		if err != nil {
			return err
		}
		key := pageKey{lang: lang.Tag, browse: b}
		read := [2]any{list, vendors}
		if m, ok := p.pages.GetIfPresent(key); ok && p.fit(m, read) {
			return m.send(c)
		}
		m, err := p.makeShop(c.UserContext(), lang, key, *list, *vendors, read)
		if err != nil {
			return err
		}
		return m.send(c)
	}
}

func (p *Public) listKey(b browse) []byte {
	key, err := json.Marshal(b.shelf(p.PageSize))
	if err != nil {
		panic(err) // strings and numbers
	}
	return key
}

// makeShop makes the page of a list.
func (p *Public) makeShop(ctx context.Context, lang render.Language, key pageKey, list []store.Slot, vendors []string, read [2]any) (*made, error) {
	m := &made{edition: p.Templates.Edition(), assets: p.Assets.Path(), lists: read, whole: true} // before what is made of it
	b, shop := key.browse, lang.ShopPath()
	list, next, previous := b.cut(list, p.PageSize)
	page := p.newPage(lang, func(l render.Language) string {
		canonical := b
		canonical.sort = "" // another order of the same
		if canonical.sort != b.sort {
			canonical = canonical.first()
		}
		return canonical.path(l.ShopPath())
	})
	page.NoIndex = b.text != ""
	page.Shelf = render.Shelf{Query: b.text, Vendor: b.vendor, Sort: b.sort, Vendors: b.vendorChoices(shop, vendors), Sorts: b.sortChoices(shop)}
	if next {
		on := b.first()
		on.after = b.placeText(list[len(list)-1].Place())
		page.Shelf.Next = on.path(shop)
	}
	if previous {
		on := b.first()
		on.before = b.placeText(list[0].Place())
		page.Shelf.Previous = on.path(shop)
	}
	wants := make([]store.Rev, len(list))
	for i, slot := range list {
		wants[i] = slot.Rev
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
		// What there is is right. The rest comes with the next page that is made.
		p.Log.Warn("a page of the shop lacks products that could not be had", "lacks", len(wants)-len(m.shown), "error", err)
		m.whole = false
	}
	if page.Description, err = p.Templates.Text(lang.Tag, "shop_description", "Shop", p.Templates.ShopName()); err != nil {
		return nil, err
	}
	page.Structured = listData(p.PublicURL, lang, list)
	return p.make(key, "shop", page, m)
}

// cut is the list without the one that is there to show that there is more.
func (b browse) cut(list []store.Slot, size int) (_ []store.Slot, next, previous bool) {
	more := len(list) > size
	if b.before != "" {
		if more {
			list = list[1:]
		}
		return list, len(list) > 0, more
	}
	if more {
		list = list[:size]
	}
	return list, more, b.after != "" && len(list) > 0
}

// vendorChoices are links to what each vendor has of what is looked for.
func (b browse) vendorChoices(shop string, vendors []string) []render.Choice {
	if b.vendor != "" && !slices.Contains(vendors, b.vendor) {
		vendors = append([]string{b.vendor}, vendors...)
	}
	if len(vendors) < 2 && b.vendor == "" {
		return nil
	}
	all := []render.Choice{}
	for _, vendor := range append([]string{""}, vendors...) {
		on := b.first()
		on.vendor = vendor
		all = append(all, render.Choice{Name: vendor, Value: vendor, URL: on.path(shop), Current: vendor == b.vendor})
	}
	return all
}

// sortChoices are links to the same in each order.
func (b browse) sortChoices(shop string) (all []render.Choice) {
	for _, sort := range sorts {
		on := b.first()
		on.sort = sort
		all = append(all, render.Choice{Value: sort, URL: on.path(shop), Current: sort == b.sort})
	}
	return all
}

// newPage is a page that is at that path in each language. Without a public URL
// the canonical link and the structured data have paths, which are of the host
// that the page is read from; what has to be a whole URL is left out.
func (p *Public) newPage(lang render.Language, path func(render.Language) string) render.Page {
	page := render.Page{Lang: lang.Tag, Canonical: p.PublicURL + path(lang), URL: p.whole(path(lang))}
	for _, l := range p.Templates.Languages() {
		page.Alternates = append(page.Alternates, render.Alternate{Language: l, Path: path(l), URL: p.whole(path(l)), Current: l.Tag == lang.Tag})
	}
	return page
}

// whole returns the whole of a URL that may be a path on this host, or "" if
// nobody has said what the host is called.
func (p *Public) whole(url string) string {
	if url = absolute(p.PublicURL, url); strings.HasPrefix(url, "/") {
		return ""
	}
	return url
}

// unavailable: the database does not answer, or not now.
func unavailable(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, render.ErrBusy) || errors.Is(err, context.DeadlineExceeded)
}
