package public

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"shelfcast/store"
	"shelfcast/testkit"
)

// decimalPoint is the form in which Google wants a price.
var decimalPoint = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// structured parses the JSON-LD of a page as a browser does.
func structured(t *testing.T, doc *html.Node) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	for _, n := range all(doc, "script", "type", "application/ld+json") {
		var v map[string]any
		if err := json.Unmarshal([]byte(n.FirstChild.Data), &v); err != nil {
			t.Fatalf("%v: %s", err, n.FirstChild.Data)
		}
		if v["@context"] != "https://schema.org" {
			t.Errorf("the context is %v", v["@context"])
		}
		found[fmt.Sprint(v["@type"])] = v
	}
	return found
}

// The product's page tells machines what it tells people, by the rules of Google's merchant listings. A hostile title
// cannot end the script.
func TestStructuredData(t *testing.T) {
	f := newTestShop(t, testkit.DSN(t), []string{"en", "de"}, nil)
	lamp := f.product(`{"sku":"lamp-1","title":"</script><script>alert(1)</script> & \"Co\" <!--",` +
		`"vendor":"Nord & Licht","price":"1979.00","compare_at_price":"2099","currency":"EUR","stock":3,
		"image_url":"/pictures/lamp.jpg","description":"<p>Warm <em>light</em> &amp; more.</p>"}`)
	yen := f.product(`{"sku":"yen","title":"Bare","price":"1979","currency":"JPY","stock":0}`)
	for path, want := range map[string]struct {
		p            store.Product
		price, state string
	}{
		fmt.Sprintf("/shop/products/%d", lamp.ID):    {lamp, "1979.00", "InStock"},
		fmt.Sprintf("/de/shop/products/%d", lamp.ID): {lamp, "1979.00", "InStock"},
		fmt.Sprintf("/shop/products/%d", yen.ID):     {yen, "1979", "OutOfStock"},
	} {
		doc := f.page(200, path)
		if n := len(all(doc, "script", "", "")); n != 3 {
			t.Errorf("%s: %d scripts: one, and two of data", path, n)
		}
		data := structured(t, doc)
		product, offer := data["Product"], data["Product"]["offers"].(map[string]any)
		for _, required := range []string{"name", "offers"} {
			if product[required] == nil {
				t.Errorf("%s: no %s", path, required)
			}
		}
		if product["name"] != want.p.Title || product["sku"] != want.p.SKU {
			t.Errorf("%s: %v", path, product)
		}
		if price := fmt.Sprint(offer["price"]); price != want.price || !decimalPoint.MatchString(price) {
			t.Errorf("%s: the price is %v", path, price)
		}
		if offer["priceCurrency"] != want.p.Currency ||
			offer["availability"] != "https://schema.org/"+want.state || offer["@type"] != "Offer" {
			t.Errorf("%s: the offer is %v", path, offer)
		}
		canonical := attr(all(doc, "link", "rel", "canonical")[0], "href")
		if canonical != "https://shop.example"+path || offer["url"] != canonical ||
			product["url"] != canonical || attr(all(doc, "meta", "property", "og:url")[0], "content") != canonical {
			t.Errorf("%s: the URLs are %v, %v, %v", path, canonical, offer["url"], product["url"])
		}
		if want.p.SKU == "lamp-1" {
			if product["image"] != "https://shop.example/pictures/lamp.jpg" ||
				product["description"] != "Warm light & more." ||
				product["brand"].(map[string]any)["name"] != "Nord & Licht" {
				t.Errorf("%s: %v", path, product)
			}
			was := offer["priceSpecification"].(map[string]any)
			if was["price"] != "2099.00" || was["priceType"] != "https://schema.org/StrikethroughPrice" ||
				was["priceCurrency"] != "EUR" {
				t.Errorf("%s: before it cost %v", path, was)
			}
			if og := attr(all(doc, "meta", "property", "og:image")[0], "content"); og != product["image"] {
				t.Errorf("%s: og:image is %s", path, og)
			}
		} else if product["image"] != nil || product["brand"] != nil || offer["priceSpecification"] != nil {
			t.Errorf("%s: %v", path, product)
		}
		items := data["BreadcrumbList"]["itemListElement"].([]any)
		for i, item := range items {
			if item := item.(map[string]any); item["position"] != float64(i+1) || item["name"] == "" ||
				i < len(items)-1 && !strings.HasPrefix(fmt.Sprint(item["item"]), "https://shop.example/") {
				t.Errorf("%s: crumb %v", path, item)
			}
		}
		if announce := attr(all(doc, "p", "class", "price")[0], "data-live-announce"); announce != want.p.Title {
			t.Errorf("%s: announced is %q", path, announce)
		}
		alternates := all(doc, "link", "rel", "alternate")
		if len(alternates) != 3 ||
			attr(alternates[1], "href") != "https://shop.example/de/shop/products/"+fmt.Sprint(want.p.ID) ||
			attr(alternates[2], "hreflang") != "x-default" {
			t.Errorf("%s: the alternates are %v", path, alternates)
		}
	}
	list := structured(t, f.page(200, "/de/shop"))["ItemList"]["itemListElement"].([]any)
	if len(list) != 2 ||
		list[0].(map[string]any)["url"] != fmt.Sprintf("https://shop.example/de/shop/products/%d", lamp.ID) {
		t.Errorf("the list is %v", list)
	}
	// Of what is not available there is nothing to say.
	f.edit(yen, `{"published":false}`)
	gone := f.page(404, fmt.Sprintf("/shop/products/%d", yen.ID))
	if data := structured(t, gone); len(data) > 0 ||
		len(all(gone, "section", "data-product-id", fmt.Sprint(yen.ID))) != 1 {
		t.Errorf("%v", data)
	}
	archived, err := f.db.Archive(t.Context(), lamp.Rev)
	if err != nil {
		t.Fatal(err)
	}
	f.cache.Observe(archived.Rev)
	f.page(410, fmt.Sprintf("/de/shop/products/%d", lamp.ID))
	if doc := f.page(404, "/de/shop/products/4711"); !strings.Contains(text(doc), "Seite nicht gefunden") {
		t.Error(text(doc))
	}
}
