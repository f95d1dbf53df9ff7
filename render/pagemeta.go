package render

import (
	"html"
	"strings"
	"unicode/utf8"

	"github.com/microcosm-cc/bluemonday"

	"shelfcast/store"
)

// metaFormat is part of the hash of templates, since another release may have other fields.
const metaFormat = "page meta 2"

// PageMeta is product data for the page head: title, meta description, JSON-LD. Fragments of
// the view Detail have it beside their HTML. It is not sent to browsers.
type PageMeta struct {
	Available bool         `json:"available"` // false: but for Archived the rest is empty
	Archived  bool         `json:"archived"`
	SKU       string       `json:"sku"`
	Title     string       `json:"title"`
	Vendor    string       `json:"vendor"`
	ImageURL  string       `json:"image_url"`
	Summary   string       `json:"summary"` // the beginning of the description, as plain text
	Price     store.Price  `json:"price"`
	CompareAt *store.Price `json:"compare_at"` // nil if there is no sale
	Currency  string       `json:"currency"`
	InStock   bool         `json:"in_stock"`
}

func newPageMeta(p store.Product) *PageMeta {
	if !p.Available() {
		return &PageMeta{Archived: p.Archived}
	}
	meta := &PageMeta{
		Available: true, SKU: p.SKU, Title: p.Title, Vendor: p.Vendor, ImageURL: p.ImageURL, Summary: summary(p.Description),
		Price: p.Price, Currency: p.Currency, InStock: p.Stock > 0,
	}
	if was := p.CompareAtPrice; was != nil && was.GreaterThan(p.Price.Decimal) {
		meta.CompareAt = was
	}
	return meta
}

// noTags removes all HTML. It is safe for concurrent use.
var noTags = bluemonday.StrictPolicy()

// blocks puts a space before tags that separate words.
var blocks = strings.NewReplacer("</p>", " </p>", "</li>", " </li>", "<br", " <br", "</h", " </h", "</td>", " </td>",
	"</div>", " </div>")

// maxSummary is the maximum length of a summary, in characters: search engines show less.
const maxSummary = 300

// summary is the beginning of a description, up to the end of a word.
func summary(description string) string {
	words := strings.Fields(html.UnescapeString(noTags.Sanitize(blocks.Replace(description))))
	var text strings.Builder
	left := maxSummary
	for _, word := range words {
		if left -= utf8.RuneCountInString(word) + 1; left < 0 {
			text.WriteString(" …")
			break
		}
		if text.Len() > 0 {
			text.WriteByte(' ')
		}
		text.WriteString(word)
	}
	return strings.TrimSpace(text.String())
}
