// Package store keeps the products, in MySQL or MariaDB. It owns Product, Rev,
// Edit, the errors that a caller may branch on, and the schema. It knows
// nothing of HTTP, Redis or browsers, and starts no goroutine.
package store

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bojanz/currency"
	"github.com/shopspring/decimal"
)

// Rev names one state of one product, for all time: a version is never reused.
//
// A version is the database's clock in microseconds since 1970, and at least
// one more than the version before it: a hybrid logical clock (Kulkarni et
// al., 2014). It is an integer that JSON's readers hold exactly until the year
// 2255, and now − version is the age of an edit.
type Rev struct {
	ID      int64 `json:"id" db:"id"`
	Version int64 `json:"version" db:"version"`
}

// A Product is one row of the shop's catalogue.
type Product struct {
	Rev
	SKU            string     `json:"sku" db:"sku"`                 // unique in the shop
	ExternalID     string     `json:"external_id" db:"external_id"` // what another system calls it, unique in the shop; "" when there is none
	Title          string     `json:"title" db:"title"`
	Description    string     `json:"description" db:"description"` // sanitised HTML
	Vendor         string     `json:"vendor" db:"vendor"`
	ImageURL       string     `json:"image_url" db:"image_url"` // "" when there is none
	Price          Price      `json:"price" db:"price"`
	CompareAtPrice *Price     `json:"compare_at_price" db:"compare_at_price"` // the price before a sale
	Currency       string     `json:"currency" db:"currency"`                 // ISO 4217
	Stock          int64      `json:"stock" db:"stock"`                       // pieces that can be sold
	Published      bool       `json:"published" db:"published"`
	Archived       bool       `json:"archived" db:"archived"`
	Public         bool       `json:"-" db:"public"` // shoppers may know of it: it is published, or was once
	CreatedAt      time.Time  `json:"created_at" db:"created_at"`
	ArchivedAt     *time.Time `json:"archived_at" db:"archived_at"`
}

// Available: shoppers may see the product.
func (p Product) Available() bool { return p.Published && !p.Archived }

// An Edit says what to make of a product; a field that is nil is left alone.
// For a new product SKU, Title, Price and Currency are required. As JSON it is a
// merge patch (RFC 7396): null takes away what a product can be without.
type Edit struct {
	SKU            *string     `json:"sku,omitempty"`
	ExternalID     *string     `json:"external_id,omitempty" nullable:"true"` // what another system calls the product, as odoo:product.template:42
	Title          *string     `json:"title,omitempty"`
	Description    *string     `json:"description,omitempty" nullable:"true"` // HTML, sanitised before it is kept
	Vendor         *string     `json:"vendor,omitempty" nullable:"true"`
	ImageURL       *string     `json:"image_url,omitempty" nullable:"true"` // http(s), or a path on the shop's own host
	Price          *Price      `json:"price,omitempty"`
	CompareAtPrice PriceChange `json:"compare_at_price,omitzero" nullable:"true"`
	Currency       *string     `json:"currency,omitempty"`
	Stock          *int64      `json:"stock,omitempty"`
	Published      *bool       `json:"published,omitempty"`
}

// UnmarshalJSON takes a merge patch.
func (e *Edit) UnmarshalJSON(b []byte) error {
	type plain Edit
	var patch struct {
		plain
		D json.RawMessage `json:"description"` // these hide the plain ones
		V json.RawMessage `json:"vendor"`
		I json.RawMessage `json:"image_url"`
		X json.RawMessage `json:"external_id"`
	}
	if err := json.Unmarshal(b, &patch); err != nil {
		return err
	}
	*e = Edit(patch.plain)
	for _, f := range []struct {
		to   **string
		text json.RawMessage
	}{{&e.Description, patch.D}, {&e.Vendor, patch.V}, {&e.ImageURL, patch.I}, {&e.ExternalID, patch.X}} {
		*f.to = nil
		if f.text == nil {
			continue
		}
		*f.to = new(string) // as null has it
		if err := json.Unmarshal(f.text, *f.to); err != nil {
			return err
		}
	}
	return nil
}

// Changes reports whether e would make something else of p. Errors: ErrInvalid.
func (db *DB) Changes(p Product, e Edit) (bool, error) {
	edited, err := e.apply(p, db.cfg.Videos)
	return err == nil && len(diff(p, edited)) > 0, err
}

// whole is e as all that there is to say of a product: what it leaves out is as
// it is in a product of which nothing was said.
func (e Edit) whole() (Edit, error) {
	var missing []FieldError
	for name, given := range map[string]bool{"sku": e.SKU != nil, "title": e.Title != nil, "price": e.Price != nil, "currency": e.Currency != nil} {
		if !given {
			missing = append(missing, FieldError{name, "is required"})
		}
	}
	if len(missing) > 0 {
		slices.SortFunc(missing, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
		return Edit{}, &InvalidError{missing}
	}
	for _, text := range []**string{&e.Description, &e.Vendor, &e.ImageURL, &e.ExternalID} {
		*text = cmp.Or(*text, new(string))
	}
	e.CompareAtPrice.Set = true
	e.Stock = cmp.Or(e.Stock, new(int64))
	e.Published = cmp.Or(e.Published, new(bool))
	return e, nil
}

// Limits of a product's fields, in characters where it is text.
const (
	MaxSKU         = 190
	MaxExternalID  = 190
	MaxTitle       = 255
	MaxVendor      = 255
	MaxDescription = 200_000
	MaxImageURL    = 2048
	MaxStock       = 1_000_000_000
)

var maxPrice = decimal.New(1, 11) // what DECIMAL(15,4) can hold

// apply is p as e would have it, or an *InvalidError. p itself stays. videos: see
// CleanHTML.
func (e Edit) apply(p Product, videos bool) (Product, error) {
	set(&p.SKU, e.SKU)
	set(&p.ExternalID, e.ExternalID)
	set(&p.Title, e.Title)
	set(&p.Vendor, e.Vendor)
	set(&p.ImageURL, e.ImageURL)
	set(&p.Price, e.Price)
	set(&p.Currency, e.Currency)
	set(&p.Stock, e.Stock)
	set(&p.Published, e.Published)
	p.Title, p.Vendor, p.ImageURL = strings.TrimSpace(p.Title), strings.TrimSpace(p.Vendor), strings.TrimSpace(p.ImageURL)
	if e.Description != nil {
		p.Description = strings.TrimSpace(SanitizeHTML(strings.ReplaceAll(*e.Description, "\r\n", "\n"), videos))
	}
	if e.CompareAtPrice.Set {
		p.CompareAtPrice = e.CompareAtPrice.To
	}
	if err := p.check(); err != nil {
		return Product{}, err
	}
	p.normalise()
	return p, nil
}

func set[T any](field *T, to *T) {
	if to != nil {
		*field = *to
	}
}

// normalise gives the prices the digits of their currency.
func (p *Product) normalise() {
	p.Price = p.Price.in(p.Currency)
	if p.CompareAtPrice != nil {
		was := p.CompareAtPrice.in(p.Currency)
		p.CompareAtPrice = &was
	}
}

// check holds p against the rules and returns an *InvalidError that has all
// that are broken.
func (p Product) check() error {
	var broken []FieldError
	say := func(field, message string) { broken = append(broken, FieldError{field, message}) }

	text := func(field, s string, least, most int) {
		switch n := utf8.RuneCountInString(s); {
		case !utf8.ValidString(s):
			say(field, "is not UTF-8")
		case n < least:
			say(field, "is required")
		case n > most:
			say(field, "is too long")
		case strings.ContainsFunc(s, unicode.IsControl):
			say(field, "has control characters")
		}
	}
	text("sku", p.SKU, 1, MaxSKU)
	if p.SKU != strings.TrimSpace(p.SKU) {
		say("sku", "has spaces around it")
	}
	text("external_id", p.ExternalID, 0, MaxExternalID)
	if p.ExternalID != strings.TrimSpace(p.ExternalID) {
		say("external_id", "has spaces around it")
	}
	text("title", strings.TrimSpace(p.Title), 1, MaxTitle)
	text("vendor", p.Vendor, 0, MaxVendor)
	text("image_url", p.ImageURL, 0, MaxImageURL)
	if !pictureURL(p.ImageURL) {
		say("image_url", "is neither an http(s) URL nor a path that starts with /")
	}
	if utf8.RuneCountInString(p.Description) > MaxDescription {
		say("description", "is too long")
	}
	if p.Stock < 0 || p.Stock > MaxStock {
		say("stock", "is not between 0 and 1000000000")
	}
	digits, known := currency.GetDigits(p.Currency)
	if !known {
		say("currency", "is not an ISO 4217 code")
	}
	amount := func(field string, d Price) {
		switch {
		case d.IsNegative():
			say(field, "is negative")
		case d.GreaterThanOrEqual(maxPrice):
			say(field, "is too large")
		case known && !d.Round(int32(digits)).Equal(d.Decimal):
			say(field, "has more digits than "+p.Currency+" has")
		}
	}
	amount("price", p.Price)
	if p.CompareAtPrice != nil {
		amount("compare_at_price", *p.CompareAtPrice)
	}
	if len(broken) > 0 {
		return &InvalidError{broken}
	}
	return nil
}

func pictureURL(s string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return u.Host != ""
	}
	return u.Scheme == "" && u.Host == "" && strings.HasPrefix(s, "/")
}
