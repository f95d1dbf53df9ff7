package api

import (
	"strings"

	"shelfcast/render"
	"shelfcast/store"
)

// Structured data of pages, as schema.org has it and as Google asks for it:
// https://developers.google.com/search/docs/appearance/structured-data/merchant-listing

// a node of JSON-LD. Go sorts its keys, so that the same is the same bytes.
type node map[string]any

const schema = "https://schema.org"

// productData is a Product with its Offer.
func productData(origin, url string, f render.ProductFacts) node {
	availability := schema + "/OutOfStock"
	if f.InStock {
		availability = schema + "/InStock"
	}
	offer := node{
		"@type": "Offer", "url": url, "price": f.Price.String(), "priceCurrency": f.Currency,
		"availability": availability, "itemCondition": schema + "/NewCondition",
	}
	if f.CompareAt != nil {
		offer["priceSpecification"] = node{
			"@type": "UnitPriceSpecification", "priceType": schema + "/StrikethroughPrice",
			"price": f.CompareAt.String(), "priceCurrency": f.Currency,
		}
	}
	product := node{"@context": schema, "@type": "Product", "name": f.Title, "url": url, "sku": f.SKU, "offers": offer}
	if f.Vendor != "" {
		product["brand"] = node{"@type": "Brand", "name": f.Vendor}
	}
	if f.ImageURL != "" {
		product["image"] = absolute(origin, f.ImageURL)
	}
	if f.Summary != "" {
		product["description"] = f.Summary
	}
	return product
}

// crumbs is the way to a product's page.
func crumbs(origin string, lang render.Language, all string, f render.ProductFacts) node {
	items := []node{{"@type": "ListItem", "position": 1, "name": all, "item": origin + lang.ShopPath()}}
	if f.Vendor != "" {
		items = append(items, node{"@type": "ListItem", "position": 2, "name": f.Vendor, "item": origin + browse{vendor: f.Vendor}.path(lang.ShopPath())})
	}
	items = append(items, node{"@type": "ListItem", "position": len(items) + 1, "name": f.Title})
	return node{"@context": schema, "@type": "BreadcrumbList", "itemListElement": items}
}

// listData is an ItemList of the pages that a page of the shop leads to.
func listData(origin string, lang render.Language, list []store.Slot) []any {
	if len(list) == 0 {
		return nil
	}
	items := make([]node, len(list))
	for i, slot := range list {
		items[i] = node{"@type": "ListItem", "position": i + 1, "url": origin + lang.ProductPath(slot.ID)}
	}
	return []any{node{"@context": schema, "@type": "ItemList", "itemListElement": items}}
}

// absolute is the whole of a URL that may be a path on this host.
func absolute(origin, url string) string {
	if strings.HasPrefix(url, "/") && !strings.HasPrefix(url, "//") {
		return origin + url
	}
	return url
}
