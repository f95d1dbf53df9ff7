package store_test

import (
	"encoding/json"
	"fmt"

	"shelfcast/store"
)

// An edit in JSON is a merge patch: absent fields stay unchanged, null removes a value.
func ExampleEdit() {
	var e store.Edit
	err := json.Unmarshal([]byte(`{"title":"Clay pot","vendor":null,"compare_at_price":null}`), &e)
	fmt.Println(*e.Title, err)
	fmt.Printf("vendor %q\n", *e.Vendor)
	fmt.Println("stock unchanged:", e.Stock == nil)
	fmt.Println("sale price removed:", e.CompareAtPrice.Set && e.CompareAtPrice.To == nil)
	// Output:
	// Clay pot <nil>
	// vendor ""
	// stock unchanged: true
	// sale price removed: true
}

func ExampleParsePrice() {
	p, err := store.ParsePrice("19.90")
	text, _ := json.Marshal(p)
	fmt.Println(p.String(), string(text), err)
	_, err = store.ParsePrice("1e9")
	fmt.Println(err)
	// Output:
	// 19.90 "19.90" <nil>
	// not a decimal number such as "19.90"
}

// Redis names contain the id of the shop, because shops may share one Redis.
func ExampleShop_Keys() {
	keys, err := store.NamedShop("k3x9").Keys()
	fmt.Println(keys.Key("current:{42}"), err)
	fmt.Println(keys.Channel())
	// Output:
	// shelfcast:k3x9:current:{42} <nil>
	// product_updates:k3x9
}

// Odoo knows a product by its own id, if the external id is from Odoo.
func ExampleOdooID() {
	fmt.Println(store.OdooID(42, store.OdooExternalID(7)))
	fmt.Println(store.OdooID(42, "erp-7"))
	// Output:
	// 7
	// 42
}

func ExampleCleanHTML() {
	clean, removed := store.CleanHTML(`<p onclick="x()">Clay <b>pot</b></p><script>x()</script>`, false)
	fmt.Println(clean)
	fmt.Println("removed:", removed)
	// Output:
	// <p>Clay <b>pot</b></p>
	// removed: <p onclick>, <script>
}
