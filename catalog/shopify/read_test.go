package shopify_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"shelfcast/catalog"
	"shelfcast/catalog/shopify"
	"shelfcast/store"
)

const columns = "Handle,Title,Body (HTML),Vendor,Published,Variant SKU,Variant Inventory Qty," +
	"Variant Price,Variant Compare At Price,Image Src\n"

// read splits what a file yields.
func read(t *testing.T, file string) (products []catalog.Item, bad map[int]string) {
	t.Helper()
	bad = map[int]string{}
	for p, err := range shopify.Read(strings.NewReader(file), "EUR") {
		line, ok := errors.AsType[*catalog.LineError](err)
		switch {
		case ok:
			bad[line.Line] = line.Err.Error()
		case err != nil:
			t.Fatal(err)
		default:
			products = append(products, p)
		}
	}
	return products, bad
}

func TestReadMergesVariants(t *testing.T) {
	products, bad := read(t, columns+
		"pot,Clay Pot,<p>x</p>,Co,true,,3,15.99,20,http://x/1.jpg\n"+
		"pot,,,,,,-2,9.99,12.50,http://x/2.jpg\n"+
		"pot,,,,,,1,12,,\n"+
		"pot,,,,,,,,,http://x/3.jpg\n"+
		"mug,\"Mug, blue\",,,false,'M-1,,5,,\n")
	if len(bad) > 0 || len(products) != 2 {
		t.Fatalf("got %v, %v", products, bad)
	}
	pot, mug := products[0].Edit, products[1].Edit
	if *pot.SKU != "pot" || pot.Price.String() != "9.99" || pot.CompareAtPrice.To.String() != "12.50" ||
		*pot.Stock != 4 || *pot.ImageURL != "http://x/1.jpg" || !*pot.Published || *pot.Currency != "EUR" {
		t.Errorf("got %+v", pot)
	}
	if *mug.SKU != "M-1" || *mug.Title != "Mug, blue" || *mug.Published ||
		mug.CompareAtPrice.To != nil || products[1].Line != 6 {
		t.Errorf("got %+v", mug)
	}
}

func TestReadReportsInvalidLinesAndContinues(t *testing.T) {
	products, bad := read(t, columns+
		"pot,Pot,,,true,,3,cheap,,\n"+
		"pot,,,,true,,3,7,,\n"+
		",No handle,,,true,,1,5,,\n"+
		"mug,Mug,,,true,,many,5,,\n"+
		"too,few\n"+
		"cup,Cup,,,true,,1,-5,,\n"+
		"pot,Pot,,,true,,1,5,,\n"+
		"jar,Jar,,,true,,1,5,,\n")
	if len(products) != 2 || *products[0].Edit.SKU != "pot" || *products[1].Edit.SKU != "jar" {
		t.Errorf("got %v", products)
	}
	for line, why := range map[int]string{
		2: `Variant Price "cheap" is not a number`, 4: "Handle", 5: "no variant with a price",
		6: "number of fields", 7: "no variant with a price", 8: "not next to each other",
	} {
		if !strings.Contains(bad[line], why) {
			t.Errorf("line %d: %q, want %q", line, bad[line], why)
		}
	}
}

func TestReadStatusAndPublished(t *testing.T) {
	products, bad := read(t, "Handle,Title,Variant Price,Published,Status\n"+
		"a,A,1,TRUE,active\n"+"b,B,1,FALSE,active\n"+"c,C,1,TRUE,draft\n"+"d,D,1,TRUE,Archived\n"+
		"e,E,1,false,archived\n"+"f,F,1,,\n")
	var got []string
	for _, p := range products {
		got = append(got, fmt.Sprint(*p.Edit.SKU, *p.Edit.Published, p.Archived))
	}
	want := "[atrue false bfalse false cfalse false dtrue true efalse true ftrue false]"
	if fmt.Sprint(got) != want || len(bad) > 0 {
		t.Errorf("got %v, %v, want %s", got, bad, want)
	}
}

func TestReadCurrencyColumn(t *testing.T) {
	products, bad := read(t, "Handle,Title,Variant Price,Currency\n"+
		"pot,Pot,900,JPY\n"+"pot,,800,\n"+"pot,,7,USD\n"+
		"mug,Mug,5,\n"+"mug,,4,USD\n")
	if len(products) != 2 || *products[0].Edit.Currency != "JPY" || products[0].Edit.Price.String() != "800" ||
		*products[1].Edit.Currency != "EUR" || products[1].Edit.Price.String() != "5" {
		t.Errorf("got %+v", products)
	}
	if !strings.Contains(bad[4], `"USD" is not "JPY"`) ||
		!strings.Contains(bad[6], `"USD" is not "EUR"`) || len(bad) != 2 {
		t.Errorf("prices of two currencies in a product: %v", bad)
	}
}

func TestReadRemovesImageOnlyWithImageColumn(t *testing.T) {
	without, _ := read(t, "Handle,Title,Variant Price\npot,Pot,1\nmug,Mug,1\n")
	with, _ := read(t, "Handle,Title,Variant Price,Image Src\npot,Pot,1,\npot,,,/2.jpg\nmug,Mug,1,\n")
	if len(without) != 2 || without[0].Edit.ImageURL != nil || without[1].Edit.ImageURL != nil {
		t.Errorf("without the column: %+v", without)
	}
	if len(with) != 2 || *with[0].Edit.ImageURL != "/2.jpg" ||
		with[1].Edit.ImageURL == nil || *with[1].Edit.ImageURL != "" {
		t.Errorf("with the column: %+v", with)
	}
}

func TestReadStockDoesNotOverflow(t *testing.T) {
	const most = "pot,Pot,1,9223372036854775807\n" // twice that and 7 is 5 in 64 bits
	products, bad := read(t, "Handle,Title,Variant Price,Variant Inventory Qty\n"+most+most+"pot,Pot,1,7\nmug,Mug,1,2\n")
	if len(products) != 2 || *products[0].Edit.Stock <= store.MaxStock || *products[1].Edit.Stock != 2 {
		t.Errorf("got %+v, %v", products, bad)
	}
}

// What has no end is not taken into memory: a quote that is never closed, a
// file with no lines, and one with nothing but lines.
func TestReadRejectsEndlessLines(t *testing.T) {
	for _, c := range []struct{ start, rest string }{
		{columns + "pot,Pot,,,,,,1,,\nmug,Mug,,,,,,1,,\njar,\"", "Jar, \n"},
		{"", "Jar"}, {columns + "\n", "\n"}, {columns, `Jar"`},
	} {
		file := &endless{next: c.start, rest: strings.Repeat(c.rest, 1000)}
		var last error
		products := 0
		for p, err := range shopify.Read(file, "EUR") {
			if last = err; err == nil && p.Line > 0 {
				products++
			}
		}
		if !errors.Is(last, shopify.ErrLineTooLong) || file.read > 3<<20 {
			t.Errorf("%.20q…: %v after %d bytes", c.rest, last, file.read)
		}
		if strings.Contains(c.start, "mug") && (products != 1 || !strings.Contains(last.Error(), "after line 3")) {
			t.Errorf("%d products, %v", products, last) // whether mug's lines are all read, nobody knows
		}
	}
}

// An endless reader has rest again and again after what is next, up to more than
// anybody should read.
type endless struct {
	next, rest string
	read       int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.read > 16<<20 {
		return 0, io.EOF
	}
	if e.next == "" {
		e.next = e.rest
	}
	n := copy(p, e.next)
	e.next = e.next[n:]
	e.read += n
	return n, nil
}

func TestReadRejectsOtherFormats(t *testing.T) {
	for _, file := range []string{"", "a,b,c\n1,2,3\n", "\x00\x01"} {
		for _, err := range shopify.Read(strings.NewReader(file), "EUR") {
			if !errors.Is(err, shopify.ErrHeader) {
				t.Errorf("%q: %v", file, err)
			}
		}
	}
}
