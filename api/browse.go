package api

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"shelfcast/store"
)

// A browse is what a visitor of the shop looks for, and where in it he is. It is
// kept, as the key of a page.
type browse struct {
	text, vendor  string
	sort          string // by its name in URLs; "": the first
	after, before string // a place, as text; "": none
}

// longestText bounds what is looked for, in characters.
const longestText = 100

// sorts are the names of store.ShelfSorts in URLs, in the same order.
var sorts = []string{"", "new", "title", "price", "-price"}

// parseBrowse reads GET /shop?q=…&vendor=…&sort=…&after=…&before=….
func parseBrowse(c *fiber.Ctx) (browse, error) {
	if len(c.Request().URI().QueryString()) == 0 {
		return browse{}, nil
	}
	b := browse{
		text: plainText(c.Query("q"), longestText), vendor: plainText(c.Query("vendor"), store.MaxVendor),
		sort: c.Query("sort"), after: c.Query("after"), before: c.Query("before"),
	}
	at := slices.Index(sorts, b.sort)
	if at < 0 || b.after != "" && b.before != "" {
		return browse{}, fiber.ErrBadRequest
	}
	b.sort = sorts[at]
	for _, place := range []*string{&b.after, &b.before} {
		if *place == "" {
			continue
		}
		parsed, err := b.parsePlace(*place)
		if err != nil {
			return browse{}, fiber.ErrBadRequest
		}
		*place = b.placeText(parsed)
	}
	return b, nil
}

// plainText is s with single spaces, without what nobody types, and
// no longer than that.
func plainText(s string, most int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	for i := range s {
		if most--; most < 0 {
			return strings.TrimSpace(s[:i])
		}
	}
	return s
}

// shelf is what b asks of the store, with one product more than a page has, so
// that it is known whether there is more.
func (b browse) shelf(size int) store.Shelf {
	s := store.Shelf{Text: b.text, Vendor: b.vendor, Sort: store.ShelfSorts[slices.Index(sorts, b.sort)], Limit: size + 1}
	if place, err := b.parsePlace(b.after); err == nil {
		s.After = &place
	}
	if place, err := b.parsePlace(b.before); err == nil {
		s.Before = &place
	}
	return s
}

// placeText is a place in a URL: the id, and before it what the list is ordered
// by, if that is something else.
func (b browse) placeText(p store.Place) string {
	id := strconv.FormatInt(p.ID, 10)
	if p.Key == "" {
		return id
	}
	return p.Key + "~" + id
}

func (b browse) parsePlace(text string) (store.Place, error) {
	at := strings.LastIndexByte(text, '~')
	id, err := parseID(text[at+1:])
	if err != nil {
		return store.Place{}, err
	}
	p := store.Place{Key: text[:max(at, 0)], ID: id}
	switch b.sort {
	case "", "new":
		if p.Key != "" {
			err = fiber.ErrBadRequest
		}
	case "title":
		if n := utf8.RuneCountInString(p.Key); n == 0 || n > store.MaxTitle || !utf8.ValidString(p.Key) {
			err = fiber.ErrBadRequest
		}
	default:
		_, err = store.ParsePrice(p.Key)
	}
	return p, err
}

// first is b from the first page on.
func (b browse) first() browse {
	b.after, b.before = "", ""
	return b
}

// path is where the shop that is at that path shows b.
func (b browse) path(shop string) string {
	values := url.Values{}
	for name, value := range map[string]string{"q": b.text, "vendor": b.vendor, "sort": b.sort, "after": b.after, "before": b.before} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if len(values) == 0 {
		return shop
	}
	return shop + "?" + values.Encode() // sorted
}
