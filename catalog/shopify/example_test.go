package shopify_test

import (
	"fmt"
	"strings"

	"shelfcast/catalog/shopify"
)

// The lines of a handle are variants of one product: it gets the lowest price and the sum
// of their stock.
func ExampleRead() {
	const file = `Handle,Title,Variant Price,Variant Inventory Qty
pot,Clay pot,15.90,3
pot,,9.90,2
mug,Mug,free,1
`
	for item, err := range shopify.Read(strings.NewReader(file), "EUR") {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(*item.Edit.SKU, item.Edit.Price.String(), *item.Edit.Stock)
	}
	// Output:
	// pot 9.90 5
	// line 4: Variant Price "free" is not a number
	// line 4: the product has no variant with a price
}
