package shopify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"shelfcast/catalog"
	"shelfcast/catalog/shopify"
	"shelfcast/store"
)

// FuzzRead: each line of a file is in a product, is an error that names it, or
// is after an error that ends the file.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "Handle\n", columns, "Handle,Title,Variant Price,Status,Currency\n'pot,'=1,1,archived,JPY\npot,,1,,USD\n",
		columns + "pot,Clay Pot,<p>x</p>,Co,true,,3,15.99,20,http://x/1.jpg\n",
		columns + "pot,,,,,,-2,9e999999999,12.50,http://x/2.jpg\n", columns + "\"pot\nx,,,\n",
		columns + "a,b\nc", "\ufeff" + columns + "mug,Mug,,,TRUE,m,1,1,,\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		lines := strings.Count(file, "\n") + strings.Count(file, "\r") + 1
		for p, err := range shopify.Read(strings.NewReader(file), "EUR") {
			bad, ok := errors.AsType[*catalog.LineError](err)
			switch {
			case ok && (bad.Line < 1 || bad.Line > lines):
				t.Errorf("an error of line %d of %d", bad.Line, lines)
			case err != nil:
			case p.Line < 2 || p.Line > lines:
				t.Errorf("a product of line %d of %d", p.Line, lines)
			case p.Edit.SKU == nil || p.Edit.Price == nil || p.Edit.Currency == nil ||
				*p.Edit.Currency != "EUR" && !strings.Contains(file, "Currency"):
				t.Errorf("line %d: %+v", p.Line, p.Edit)
			}
		}
	})
}

// FuzzRoundTrip: what is written is read as it was, and no text is left for a
// spreadsheet to run.
func FuzzRoundTrip(f *testing.F) {
	f.Add("pot", "Clay Pot", "<p>x</p>", "Co", "/1.jpg", int64(1599), int64(-1), int64(3), byte(0))
	f.Add("'pot", "'Tis", "\"a\", b;\n\nc\r\nd", "'=1", "https://x.example/ü?a=b,c",
		int64(0), int64(0), int64(0), byte(1))
	f.Add("=1+2", "-", " @x ", "''+x", "", int64(1), int64(2), int64(store.MaxStock), byte(2))
	f.Add("''-5", "\ufeff茶 🫖", "\\.", "＝1", "\r", int64(99), int64(100), int64(7), byte(3))
	f.Fuzz(func(t *testing.T, sku, title, body, vendor, picture string, cents, compareAt, stock int64, flags byte) {
		one := store.Product{
			SKU: sku, Title: title, Description: body, Vendor: vendor,
			ImageURL: picture, Price: amount(t, cents), Currency: "EUR",
			Stock: max(stock, 0) % store.MaxStock, Published: flags&1 == 0, Archived: flags&2 == 0,
		}
		if compareAt >= 0 {
			was := amount(t, compareAt)
			one.CompareAtPrice = &was
		}
		two := one
		two.SKU, two.Title, two.Description, two.Vendor, two.Currency = title, body, vendor, sku, "USD"
		if kept(sku) == "" || kept(title) == "" || kept(sku) == kept(title) {
			t.Skip("not two products")
		}
		file := written(t, one, two)
		products, bad := read(t, file)
		if len(products) != 2 || len(bad) > 0 {
			t.Fatalf("%d products, %v in %q", len(products), bad, file)
		}
		for i, p := range []store.Product{one, two} {
			if got, want := products[i], edit(p); got.Archived != p.Archived || !reflect.DeepEqual(got.Edit, want) {
				t.Errorf("got %s, want %s, from %q", shown(got.Edit), shown(want), file)
			}
		}
		for _, record := range records(t, file) {
			for i, cell := range record[:6] {
				if strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "+") ||
					strings.HasPrefix(cell, "-") || strings.HasPrefix(cell, "@") {
					t.Errorf("a spreadsheet would run %q of column %d", cell, i)
				}
			}
		}
	})
}

func amount(t *testing.T, cents int64) store.Price {
	t.Helper()
	cents &= 1<<40 - 1
	p, err := store.ParsePrice(fmt.Sprintf("%d.%02d", cents/100, cents%100))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// kept is of a text what the store keeps.
func kept(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\r\n", "\n") }

// edit returns the edit that makes a product p, with the texts as the store keeps them.
func edit(p store.Product) store.Edit {
	var e store.Edit
	product, fields := reflect.ValueOf(p), reflect.ValueOf(&e).Elem()
	for i := range fields.NumField() {
		value := product.FieldByName(fields.Type().Field(i).Name)
		to := reflect.New(value.Type())
		to.Elem().Set(value)
		switch to := to.Interface().(type) {
		case **store.Price:
			fields.Field(i).Set(reflect.ValueOf(store.PriceChange{Set: true, To: *to}))
			continue
		case *string:
			*to = kept(*to)
		}
		fields.Field(i).Set(to)
	}
	return e
}

func shown(e store.Edit) string {
	text, _ := json.Marshal(e)
	return string(text)
}

func written(t *testing.T, products ...store.Product) string {
	t.Helper()
	var file bytes.Buffer
	w := shopify.NewWriter(&file)
	for _, p := range products {
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return file.String()
}
