package render

import (
	"encoding/json"
	"html"
	"strings"
	"unicode/utf8"

	"github.com/microcosm-cc/bluemonday"

	"shelfcast/store"
)

// Facts is a view that is no template: what there is to say of a product around
// its fragment, in the head of its page. It is had, shared and remembered as the
// others are, and no browser can ask for it.
const Facts View = "facts"

// factsForm is part of the hash, since another release may know other facts.
const factsForm = "facts 1"

// ProductFacts is what the HTML of a fragment of Facts has.
type ProductFacts struct {
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

// Facts are those of a fragment of the view Facts.
func (f *Fragment) Facts() (ProductFacts, error) {
	var facts ProductFacts
	err := json.Unmarshal([]byte(f.HTML), &facts)
	return facts, err
}

func factsOf(p store.Product) (string, error) {
	facts := ProductFacts{Archived: p.Archived}
	if p.Available() {
		facts = ProductFacts{
			Available: true, SKU: p.SKU, Title: p.Title, Vendor: p.Vendor, ImageURL: p.ImageURL, Summary: summary(p.Description),
			Price: p.Price, Currency: p.Currency, InStock: p.Stock > 0,
		}
		if was := p.CompareAtPrice; was != nil && was.GreaterThan(p.Price.Decimal) {
			facts.CompareAt = was
		}
	}
	text, err := json.Marshal(facts)
	return string(text), err
}

// noTags takes out all HTML. It is safe for concurrent use once made.
var noTags = bluemonday.StrictPolicy()

// blocks are the tags between which words do not meet.
var blocks = strings.NewReplacer("</p>", " </p>", "</li>", " </li>", "<br", " <br", "</h", " </h", "</td>", " </td>", "</div>", " </div>")

// longest is that of a summary, in characters: search engines show less.
const longest = 300

// summary is the beginning of a description, up to the end of a word.
func summary(description string) string {
	words := strings.Fields(html.UnescapeString(noTags.Sanitize(blocks.Replace(description))))
	var text strings.Builder
	left := longest
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
