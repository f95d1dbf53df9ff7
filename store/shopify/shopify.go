// Package shopify reads and writes Shopify's product CSV: one line a variant,
// the first line of a handle carrying what the variants share. A product of ours
// is a handle: the lowest price of its variants and the sum of their stock. What
// a Writer has written, Read reads as it was.
package shopify

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"shelfcast/store"
)

// A Product is what the lines of one handle say.
type Product struct {
	Line     int // the first of them
	Edit     store.Edit
	Archived bool // Status says so
}

// A LineError is why a line was left out.
type LineError struct {
	Line int
	SKU  string // of its product, where that is known
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

var (
	// ErrHeader: the first line does not have the columns that are needed.
	ErrHeader = errors.New("this is no product CSV of Shopify")
	// ErrLong: a line, or a cell that a quote opens, has no end within maxLine.
	ErrLong = errors.New("a line does not end within 1 MiB")
)

// Read yields the products of a file and, as a *LineError, each line that is no
// good, after which it goes on. Any other error is the last. It reads no further
// than the product that it yields and the first line after it, but for a buffer.
//
// Prices are in the currency given, unless the file has a column that Shopify's
// does not have, Currency, and the first line of a product says something there.
// A column External ID, which Shopify's has not either, is what another system
// calls the product. An apostrophe in front of a SKU, or of what a spreadsheet would run, is not
// part of the text.
func Read(r io.Reader, currency string) iter.Seq2[Product, error] {
	return func(yield func(Product, error) bool) {
		bounded := &bound{r: r, left: maxLine}
		lines := csv.NewReader(bounded)
		lines.ReuseRecord = true
		columns, err := header(lines)
		if err != nil {
			yield(Product{}, err)
			return
		}
		p := parser{columns: columns, currency: currency, seen: map[string]bool{}, yield: yield}
		last := 1
		for {
			bounded.left = maxLine
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
				yield(Product{}, fmt.Errorf("after line %d: %w", last, err))
				return
			}
			last, _ = lines.FieldPos(0) // it panics after an error
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

// A parser folds lines into products.
type parser struct {
	columns  map[string]int
	currency string
	yield    func(Product, error) bool
	seen     map[string]bool // handles

	// The product whose lines are being read.
	handle  string
	product Product
	picture bool // it has its first picture
}

// line takes one line; false: the caller wants no more.
func (p *parser) line(number int, record []string) bool {
	get := func(column string) string {
		if i, ok := p.columns[column]; ok {
			return strings.Clone(strings.TrimSpace(record[i]))
		}
		return ""
	}
	handle := get("Handle")
	if handle == "" {
		return p.fail(number, "", errors.New("it has no Handle"))
	}
	if handle != p.handle {
		if !p.finish() {
			return false
		}
		if p.seen[handle] {
			return p.fail(number, skuOf(handle, get), fmt.Errorf("handle %q stood further up already", handle))
		}
		p.seen[handle] = true
		p.begin(number, handle, get)
	}
	if !p.picture && get("Image Src") != "" {
		p.picture = true
		picture := get("Image Src")
		p.product.Edit.ImageURL = &picture
	}
	if get("Variant Price") == "" && get("Title") == "" {
		return true // a line for one more picture
	}
	if err := p.variant(get); err != nil {
		return p.fail(number, *p.product.Edit.SKU, err)
	}
	return true
}

func skuOf(handle string, get func(string) string) string {
	if sku := get("Variant SKU"); sku != "" {
		return bareSKU(sku)
	}
	return bareSKU(handle)
}

func (p *parser) begin(number int, handle string, get func(string) string) {
	sku, title := skuOf(handle, get), bare(get("Title"))
	currency := p.currency
	if own := get("Currency"); own != "" {
		currency = own
	}
	status := get("Status")
	archived := strings.EqualFold(status, "archived")
	published := !strings.EqualFold(get("Published"), "false") &&
		(status == "" || archived || strings.EqualFold(status, "active"))
	p.handle, p.picture = handle, false
	p.product = Product{Line: number, Archived: archived, Edit: store.Edit{
		SKU: &sku, Title: &title, Currency: &currency, Published: &published,
	}}
	// What the file has no column for is left as it is.
	e := &p.product.Edit
	if p.has("Body (HTML)") {
		body := bare(get("Body (HTML)"))
		e.Description = &body
	}
	if p.has("Vendor") {
		vendor := bare(get("Vendor"))
		e.Vendor = &vendor
	}
	if p.has("External ID") {
		external := bare(get("External ID"))
		e.ExternalID = &external
	}
	if p.has("Image Src") {
		e.ImageURL = new(string) // none, unless a line has one
	}
	if p.has("Variant Inventory Qty") {
		e.Stock = new(int64)
	}
	e.CompareAtPrice.Set = p.has("Variant Compare At Price") // none, unless a variant has one
}

func (p *parser) has(column string) bool {
	_, ok := p.columns[column]
	return ok
}

// variant folds one in.
func (p *parser) variant(get func(string) string) error {
	price, err := store.ParsePrice(get("Variant Price"))
	if err != nil {
		return fmt.Errorf("Variant Price %q is no number", get("Variant Price"))
	}
	if price.IsNegative() {
		return fmt.Errorf("Variant Price %q is negative", get("Variant Price"))
	}
	var compareAt *store.Price
	if text := get("Variant Compare At Price"); text != "" {
		c, err := store.ParsePrice(text)
		if err != nil {
			return fmt.Errorf("Variant Compare At Price %q is no number", text)
		}
		compareAt = &c
	}
	var stock int64
	if text := get("Variant Inventory Qty"); text != "" {
		if stock, err = strconv.ParseInt(text, 10, 64); err != nil {
			return fmt.Errorf("Variant Inventory Qty %q is no whole number", text)
		}
	}
	e := &p.product.Edit
	if own := get("Currency"); own != "" && own != *e.Currency {
		return fmt.Errorf("Currency %q is not %q, as further up", own, *e.Currency)
	}
	// What is oversold cannot be sold from another's stock. More than the store
	// takes is as good as one too many, and does not overflow.
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
	return p.yield(Product{}, &LineError{Line: number, SKU: sku, Err: err})
}

// finish yields the product that is complete; false: the caller wants no more.
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
