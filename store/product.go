// Package store keeps the products in MySQL or MariaDB. It owns Product, Rev, Edit, the
// errors that callers branch on, and the schema. It does not depend on HTTP, Redis clients
// or browsers.
//
// Every write of a product sets a new version in the same statement. Writers name the
// version that they have seen; if it is not the current one they get an ErrConflict.
package store

import "time"

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

// An Edit says which fields of a product to set; a field that is nil stays unchanged.
// A new product needs SKU, Title, Price and Currency. As JSON it is a merge patch
// (RFC 7396): null removes the value of a field that a product can be without.
type Edit struct {
	SKU            *string     `json:"sku,omitempty"`
	ExternalID     *string     `json:"external_id,omitempty" nullable:"true"` // the id in another system, as odoo:product.template:42
	Title          *string     `json:"title,omitempty"`
	Description    *string     `json:"description,omitempty" nullable:"true"` // HTML, sanitised before it is stored
	Vendor         *string     `json:"vendor,omitempty" nullable:"true"`
	ImageURL       *string     `json:"image_url,omitempty" nullable:"true"` // http(s), or a path on the shop's own host
	Price          *Price      `json:"price,omitempty"`
	CompareAtPrice PriceChange `json:"compare_at_price,omitzero" nullable:"true"`
	Currency       *string     `json:"currency,omitempty"`
	Stock          *int64      `json:"stock,omitempty"`
	Published      *bool       `json:"published,omitempty"`
}

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

// fields lists what an edit can change, in the order of the history. It is the only
// place that does: the SQL below, the merge patch of Edit, its validation and the
// history go through it.
//
// To add a field, add its entry here, the struct fields in Product and Edit, and a
// migration for the column; then its column in catalog/shopify, its input in
// web/assets/admin-fields.js, and its place in web/templates/views. A test compares the table
// with both structs.
var fields = []field{
	editable("sku",
		func(p *Product) *string { return &p.SKU },
		func(e *Edit) **string { return &e.SKU }).required().text(1, MaxSKU).unpadded(),
	editable("external_id",
		func(p *Product) *string { return &p.ExternalID },
		func(e *Edit) **string { return &e.ExternalID }).nullable().text(0, MaxExternalID).unpadded().
		sql(`COALESCE(external_id, '') AS external_id`, `NULLIF(:external_id, '')`),
	editable("title",
		func(p *Product) *string { return &p.Title },
		func(e *Edit) **string { return &e.Title }).required().text(1, MaxTitle),
	editable("description",
		func(p *Product) *string { return &p.Description },
		func(e *Edit) **string { return &e.Description }).nullable(),
	editable("vendor",
		func(p *Product) *string { return &p.Vendor },
		func(e *Edit) **string { return &e.Vendor }).nullable().text(0, MaxVendor),
	editable("image_url",
		func(p *Product) *string { return &p.ImageURL },
		func(e *Edit) **string { return &e.ImageURL }).nullable().text(0, MaxImageURL),
	editable("price",
		func(p *Product) *Price { return &p.Price },
		func(e *Edit) **Price { return &e.Price }).required(),
	editablePrice("compare_at_price",
		func(p *Product) **Price { return &p.CompareAtPrice },
		func(e *Edit) *PriceChange { return &e.CompareAtPrice }).nullable(),
	editable("currency",
		func(p *Product) *string { return &p.Currency },
		func(e *Edit) **string { return &e.Currency }).required(),
	editable("stock",
		func(p *Product) *int64 { return &p.Stock },
		func(e *Edit) **int64 { return &e.Stock }),
	editable("published",
		func(p *Product) *bool { return &p.Published },
		func(e *Edit) **bool { return &e.Published }),
}

// archivedField is in the history, but Archive and Restore change it, not an Edit. Its
// column is archived_at.
var archivedField = tracked("archived", func(p *Product) *bool { return &p.Archived })

// historyFields are the fields whose changes are in the history.
var historyFields = append(fields[:len(fields):len(fields)], archivedField)
