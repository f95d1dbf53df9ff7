package public

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

// A shopQuery is what a visitor of the shop looks for, and which page of it is shown. It is part of the key of a cached
// page.
type shopQuery struct {
	text, vendor  string
	sort          string // by its name in URLs; "": the default
	after, before string // a cursor as text; "": none
}

// maxSearchLength is the limit of a search text, in characters.
const maxSearchLength = 100

// sortNames are the names of store.StorefrontSorts in URLs, in the same order.
var sortNames = []string{"", "new", "title", "price", "-price"}

// parseShopQuery parses GET /shop?q=…&vendor=…&sort=…&after=…&before=….
func parseShopQuery(c *fiber.Ctx) (shopQuery, error) {
	if len(c.Request().URI().QueryString()) == 0 {
		return shopQuery{}, nil
	}
	q := shopQuery{
		text: normalizeText(c.Query("q"), maxSearchLength), vendor: normalizeText(c.Query("vendor"), store.MaxVendor),
		sort: c.Query("sort"), after: c.Query("after"), before: c.Query("before"),
	}
	at := slices.Index(sortNames, q.sort)
	if at < 0 || q.after != "" && q.before != "" {
		return shopQuery{}, fiber.ErrBadRequest
	}
	q.sort = sortNames[at]
	for _, place := range []*string{&q.after, &q.before} {
		if *place == "" {
			continue
		}
		parsed, err := q.parseCursor(*place)
		if err != nil {
			return shopQuery{}, fiber.ErrBadRequest
		}
		*place = q.cursorText(parsed)
	}
	return q, nil
}

// normalizeText returns s with single spaces, without control characters, and cut to limit characters.
func normalizeText(s string, most int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""),
		func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	for i := range s {
		if most--; most < 0 {
			return strings.TrimSpace(s[:i])
		}
	}
	return s
}

// storeQuery returns the query for the store. It asks for one product more than a page has, which shows whether there
// is a next page.
func (q shopQuery) storeQuery(size int) store.StorefrontQuery {
	s := store.StorefrontQuery{Text: q.text, Vendor: q.vendor,
		Sort: store.StorefrontSorts[slices.Index(sortNames, q.sort)], Limit: size + 1}
	if place, err := q.parseCursor(q.after); err == nil {
		s.After = &place
	}
	if place, err := q.parseCursor(q.before); err == nil {
		s.Before = &place
	}
	return s
}

// cursorText returns a cursor as it is in a URL: the sort key, if it is not the id, and the id.
func (q shopQuery) cursorText(p store.Cursor) string {
	id := strconv.FormatInt(p.ID, 10)
	if p.Key == "" {
		return id
	}
	return p.Key + "~" + id
}

func (q shopQuery) parseCursor(text string) (store.Cursor, error) {
	at := strings.LastIndexByte(text, '~')
	id, err := parseID(text[at+1:])
	if err != nil {
		return store.Cursor{}, err
	}
	p := store.Cursor{Key: text[:max(at, 0)], ID: id}
	switch q.sort {
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

// firstPage returns the query for the first page.
func (q shopQuery) firstPage() shopQuery {
	q.after, q.before = "", ""
	return q
}

// path returns the URL of the query, below the path of a shop.
func (q shopQuery) path(shop string) string {
	values := url.Values{}
	for name, value := range map[string]string{"q": q.text, "vendor": q.vendor,
		"sort": q.sort, "after": q.after, "before": q.before} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if len(values) == 0 {
		return shop
	}
	return shop + "?" + values.Encode() // Encode sorts
}
