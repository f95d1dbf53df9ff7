// Package shopify reads and writes Shopify's product CSV, which has one line a variant;
// the first line of a handle has the fields that its variants share. A handle becomes
// one product, with the lowest price of its variants and the sum of their stock. What a
// Writer writes, Read reads back unchanged.
package shopify

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"shelfcast/catalog"
	"shelfcast/store"
)

var (
	// ErrHeader: the first line lacks a required column.
	ErrHeader = errors.New("this is not a product CSV of Shopify")
	// ErrLineTooLong: a line, or a quoted cell, does not end within maxLine bytes.
	ErrLineTooLong = errors.New("a line does not end within 1 MiB")
)

// Read returns the products of a file and, as a *catalog.LineError, each line that is
// invalid, after which it continues. Any other error is the last. It reads no further
// than the product that it yields and the first line after it, except for a buffer.
//
// Prices are in the given currency, unless the file has a column Currency and the first
// line of the product has a value in it. A column External ID is what another system
// calls the product. Shopify's format has neither column. An apostrophe in front of a
// SKU or of a formula is not part of the text.
func Read(r io.Reader, currency string) iter.Seq2[catalog.Item, error] {
	return func(yield func(catalog.Item, error) bool) {
		limited := &limitReader{r: r, left: maxLine}
		lines := csv.NewReader(limited)
		lines.ReuseRecord = true
		columns, err := header(lines)
		if err != nil {
			yield(catalog.Item{}, err)
			return
		}
		p := parser{columns: columns, currency: currency, seen: map[string]bool{}, yield: yield}
		last := 1
		for {
			limited.left = maxLine
			record, err := lines.Read()
			if err == io.EOF {
				p.finish()
				return
			}
			if broken, ok := errors.AsType[*csv.ParseError](err); ok {
				last = broken.Line
				if !p.fail(broken.StartLine, "", broken.Err) {
					return
				}
				continue
			}
			if err != nil {
				yield(catalog.Item{}, fmt.Errorf("after line %d: %w", last, err))
				return
			}
			last, _ = lines.FieldPos(0) // FieldPos panics after an error
			if !p.line(last, record) {
				return
			}
		}
	}
}

func header(lines *csv.Reader) (map[string]int, error) {
	names, err := lines.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	columns := make(map[string]int, len(names))
	for i, name := range names {
		columns[strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))] = i
	}
	for _, name := range []string{"Handle", "Title", "Variant Price"} {
		if _, ok := columns[name]; !ok {
			return nil, fmt.Errorf("%w: there is no column %q", ErrHeader, name)
		}
	}
	return columns, nil
}

// A parser merges the lines of a handle into a product.
type parser struct {
	columns  map[string]int
	currency string
	yield    func(catalog.Item, error) bool
	seen     map[string]bool // handles that have been read

	// The product whose lines are being read.
	handle   string
	product  catalog.Item
	hasImage bool // its first image is known
}

// line reads one line, and reports whether the caller wants more.
func (p *parser) line(number int, record []string) bool {
	get := func(column string) string {
		if i, ok := p.columns[column]; ok {
			return strings.Clone(strings.TrimSpace(record[i]))
		}
		return ""
	}
	handle := get("Handle")
	if handle == "" {
		return p.fail(number, "", errors.New("the line has no Handle"))
	}
	if handle != p.handle {
		if !p.finish() {
			return false
		}
		if p.seen[handle] {
			return p.fail(number, skuOf(handle, get), fmt.Errorf("the lines of handle %q are not next to each other", handle))
		}
		p.seen[handle] = true
		p.begin(number, handle, get)
	}
	if !p.hasImage && get("Image Src") != "" {
		p.hasImage = true
		image := get("Image Src")
		p.product.Edit.ImageURL = &image
	}
	if get("Variant Price") == "" && get("Title") == "" {
		return true // a line with one more image
	}
	if err := p.variant(get); err != nil {
		return p.fail(number, *p.product.Edit.SKU, err)
	}
	return true
}

func skuOf(handle string, get func(string) string) string {
	if sku := get("Variant SKU"); sku != "" {
		return unescapeSKU(sku)
	}
	return unescapeSKU(handle)
}

func (p *parser) begin(number int, handle string, get func(string) string) {
	sku := skuOf(handle, get)
	currency := p.currency
	if own := get("Currency"); own != "" {
		currency = own
	}
	status := get("Status")
	archived := strings.EqualFold(status, "archived")
	published := !strings.EqualFold(get("Published"), "false") &&
		(status == "" || archived || strings.EqualFold(status, "active"))
	p.handle, p.hasImage = handle, false
	p.product = catalog.Item{Line: number, Archived: archived, Edit: store.Edit{
		SKU: &sku, Currency: &currency, Published: &published,
	}}
	// A field without a column in the file is left unchanged.
	e := &p.product.Edit
	for _, c := range columns {
		if c.text != nil && p.has(c.name) {
			cell := unescape(get(c.name))
			*c.text(e) = &cell
		}
	}
	if p.has("Image Src") {
		e.ImageURL = new(string) // no image, unless a line has one
	}
	if p.has("Variant Inventory Qty") {
		e.Stock = new(int64)
	}
	e.CompareAtPrice.Set = p.has("Variant Compare At Price") // no price, unless a variant has one
}

func (p *parser) has(column string) bool {
	_, ok := p.columns[column]
	return ok
}

// variant adds a variant to the product: the lowest price wins, stock is summed.
func (p *parser) variant(get func(string) string) error {
	price, err := store.ParsePrice(get("Variant Price"))
	if err != nil {
		return fmt.Errorf("Variant Price %q is not a number", get("Variant Price"))
	}
	if price.IsNegative() {
		return fmt.Errorf("Variant Price %q is negative", get("Variant Price"))
	}
	var compareAt *store.Price
	if text := get("Variant Compare At Price"); text != "" {
		c, err := store.ParsePrice(text)
		if err != nil {
			return fmt.Errorf("Variant Compare At Price %q is not a number", text)
		}
		compareAt = &c
	}
	var stock int64
	if text := get("Variant Inventory Qty"); text != "" {
		if stock, err = strconv.ParseInt(text, 10, 64); err != nil {
			return fmt.Errorf("Variant Inventory Qty %q is not an integer", text)
		}
	}
	e := &p.product.Edit
	if own := get("Currency"); own != "" && own != *e.Currency {
		return fmt.Errorf("Currency %q is not %q, which an earlier line of the product has", own, *e.Currency)
	}
	// An oversold variant does not reduce the stock of the others. Anything above
	// MaxStock is refused later; capping it here prevents an overflow.
	if e.Stock != nil {
		*e.Stock += min(max(stock, 0), store.MaxStock+1)
	}
	if e.Price == nil || price.LessThan(e.Price.Decimal) {
		e.Price = &price
		e.CompareAtPrice.To = compareAt
	}
	return nil
}

func (p *parser) fail(number int, sku string, err error) bool {
	return p.yield(catalog.Item{}, &catalog.LineError{Line: number, SKU: sku, Err: err})
}

// finish yields the product whose lines have been read, and reports whether the caller
// wants more.
func (p *parser) finish() bool {
	if p.handle == "" {
		return true
	}
	done := p.product
	p.handle = ""
	if done.Edit.Price == nil {
		return p.fail(done.Line, *done.Edit.SKU, errors.New("the product has no variant with a price"))
	}
	return p.yield(done, nil)
}
