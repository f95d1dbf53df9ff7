// Package store keeps the products in MySQL or MariaDB. It owns Product, Rev, Edit, the
// errors that callers branch on, and the schema. It does not depend on HTTP, Redis clients
// or browsers.
//
// Every write of a product sets a new version in the same statement. Writers name the
// version that they have seen; if it is not the current one they get an ErrConflict.
package store

import (
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bojanz/currency"
	"github.com/shopspring/decimal"
)

// A Rev identifies one state of one product. Versions are never reused.
//
// A version is the database's clock in microseconds since 1970, and at least
// one more than the version before it: a hybrid logical clock (Kulkarni et
// al., 2014). JSON readers hold it exactly until the year 2255, and now − version is the
// age of an edit.
type Rev struct {
	ID      int64 `json:"id" db:"id"`
	Version int64 `json:"version" db:"version"`
}

// A Product is one product of the shop: a row of the table products.
type Product struct {
	Rev
	SKU            string     `json:"sku" db:"sku"`                 // unique in the shop
	ExternalID     string     `json:"external_id" db:"external_id"` // the id in another system, unique in the shop; "": none
	Title          string     `json:"title" db:"title"`
	Description    string     `json:"description" db:"description"` // sanitised HTML
	Vendor         string     `json:"vendor" db:"vendor"`
	ImageURL       string     `json:"image_url" db:"image_url"` // "": none
	Price          Price      `json:"price" db:"price"`
	CompareAtPrice *Price     `json:"compare_at_price" db:"compare_at_price"` // the price before a sale
	Currency       string     `json:"currency" db:"currency"`                 // ISO 4217
	Stock          int64      `json:"stock" db:"stock"`                       // pieces that can be sold
	Published      bool       `json:"published" db:"published"`
	Archived       bool       `json:"archived" db:"archived"`
	Public         bool       `json:"-" db:"public"` // it is published or was once, so shoppers may know that it exists
	CreatedAt      time.Time  `json:"created_at" db:"created_at"`
	ArchivedAt     *time.Time `json:"archived_at" db:"archived_at"`
}

// Available reports whether shoppers may see the product.
func (p Product) Available() bool { return p.Published && !p.Archived }

// Limits of the fields; of texts in characters.
const (
	MaxSKU         = 190
	MaxExternalID  = 190
	MaxTitle       = 255
	MaxVendor      = 255
	MaxDescription = 200_000
	MaxImageURL    = 2048
	MaxStock       = 1_000_000_000
)

var maxPrice = decimal.New(1, 11) // the limit of DECIMAL(15,4)

// normalise gives the prices as many digits as the currency has.
func (p *Product) normalise() {
	p.Price = p.Price.in(p.Currency)
	if p.CompareAtPrice != nil {
		was := p.CompareAtPrice.in(p.Currency)
		p.CompareAtPrice = &was
	}
}

// check returns an *InvalidError with all rules that p breaks, or nil.
func (p Product) check() error {
	var broken []FieldError
	say := func(field, message string) { broken = append(broken, FieldError{field, message}) }

	checkTexts(&p, say)
	if !validImageURL(p.ImageURL) {
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

func validImageURL(s string) bool {
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
