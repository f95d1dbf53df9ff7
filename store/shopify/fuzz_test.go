package shopify_test

import (
	"errors"
	"strings"
	"testing"

	"shelfcast/store/shopify"
)

// FuzzRead: each line of a file is in a product, is an error that names it, or
// is after an error that ends the file.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "Handle\n", columns, "Handle,Title,Variant Price,Status,Currency\n'pot,'=1,1,archived,JPY\npot,,1,,USD\n", columns + "pot,Clay Pot,<p>x</p>,Co,true,,3,15.99,20,http://x/1.jpg\n",
		columns + "pot,,,,,,-2,9e999999999,12.50,http://x/2.jpg\n", columns + "\"pot\nx,,,\n", columns + "a,b\nc", "\ufeff" + columns + "mug,Mug,,,TRUE,m,1,1,,\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		lines := strings.Count(file, "\n") + strings.Count(file, "\r") + 1
		for p, err := range shopify.Read(strings.NewReader(file), "EUR") {
			bad, ok := errors.AsType[*shopify.LineError](err)
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
