package shopify_test

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"shelfcast/catalog"
	"shelfcast/catalog/shopify"
	"shelfcast/store"
)

func records(t *testing.T, file string) [][]string {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWriterOutput(t *testing.T) {
	was := amount(t, 2000)
	got := written(t,
		store.Product{SKU: "'=pot", Title: `Pot, "clay"`, Description: "<p>a\nb</p>", Vendor: "-Co", ImageURL: "/1.jpg",
			Price: amount(t, 1590), CompareAtPrice: &was, Currency: "EUR", Stock: 4, Published: true},
		store.Product{SKU: "mug", Title: "'Tis a mug", Price: amount(t, 5),
			Currency: "USD", Archived: true, ExternalID: "odoo:product.template:9"})
	want := `Handle,Title,Body (HTML),Vendor,Published,Variant SKU,Variant Inventory Qty,Variant Price,` +
		`Variant Compare At Price,Image Src,Status,Currency,External ID
''=pot,"Pot, ""clay""","<p>a
b</p>",'-Co,TRUE,''=pot,4,15.90,20.00,/1.jpg,active,EUR,
mug,'Tis a mug,,,FALSE,mug,0,0.05,,,archived,USD,odoo:product.template:9
`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWriterReportsWriteErrors(t *testing.T) {
	full := errors.New("no room")
	r, out := io.Pipe()
	r.CloseWithError(full)
	w := shopify.NewWriter(out)
	var err error
	for n := 0; err == nil && n < 100; n++ { // there is a buffer
		err = w.Write(store.Product{SKU: "pot", Title: strings.Repeat("x", 200)})
	}
	if !errors.Is(err, full) || !errors.Is(w.Flush(), full) {
		t.Errorf("got %v", err)
	}
}

// pages has each of the pages in turn, then none, and counts.
func pages(asked *int, pages ...[]store.Product) func() ([]store.Product, error) {
	return func() ([]store.Product, error) {
		*asked++
		if *asked > len(pages) {
			return nil, nil
		}
		return pages[*asked-1], nil
	}
}

func TestExportFetchesPagesAsTheyAreRead(t *testing.T) {
	pot, mug, jar := store.Product{SKU: "pot"}, store.Product{SKU: "mug"}, store.Product{SKU: "jar"}
	asked := 0
	r := catalog.Export(pages(&asked, []store.Product{pot, mug}, []store.Product{jar}), shopify.NewWriter)
	if asked != 0 {
		t.Error("a page was fetched before anybody read")
	}
	first := make([]byte, len(written(t, pot, mug)))
	if _, err := io.ReadFull(iotest.OneByteReader(r), first); err != nil || asked != 1 {
		t.Errorf("%d pages fetched for the first, %v", asked, err)
	}
	var one [1]byte
	if _, err := io.ReadFull(r, one[:]); err != nil || asked != 2 {
		t.Errorf("%d pages fetched for the second, %v", asked, err)
	}
	rest, err := io.ReadAll(r)
	if got := string(first) + string(one[:]) + string(rest); err != nil || got != written(t, pot, mug, jar) || asked != 3 {
		t.Errorf("got %q, %v", got, err)
	}
	if n, err := r.Read(one[:]); n != 0 || err != io.EOF || asked != 3 {
		t.Errorf("after the end: %d, %v, %d pages fetched", n, err, asked)
	}
}

func TestExportOfEmptyCatalogueIsAHeader(t *testing.T) {
	asked := 0
	got, err := io.ReadAll(catalog.Export(pages(&asked), shopify.NewWriter))
	if err != nil || string(got) != written(t) || len(records(t, string(got))) != 1 {
		t.Errorf("got %q, %v", got, err)
	}
}

// Not even an io.EOF from below is the end of the file.
func TestExportReturnsErrorOfNextPage(t *testing.T) {
	for _, why := range []error{store.ErrUnavailable, io.EOF} {
		asked := 0
		two := pages(&asked, []store.Product{{SKU: "pot"}}, []store.Product{{SKU: "mug"}})
		r := catalog.Export(func() ([]store.Product, error) {
			if asked == 2 {
				return nil, why
			}
			return two()
		}, shopify.NewWriter)
		got, err := io.ReadAll(r)
		if !errors.Is(err, why) || string(got) != written(t, store.Product{SKU: "pot"}, store.Product{SKU: "mug"}) {
			t.Errorf("got %q, %v", got, err)
		}
		if _, again := r.Read(make([]byte, 1)); !errors.Is(again, why) || again == io.EOF {
			t.Errorf("then %v", again)
		}
	}
}
