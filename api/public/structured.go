package public

import (
	"strings"

	"shelfcast/render"
	"shelfcast/store"
)

// Structured data of pages, as schema.org and Google define it:
// https://developers.google.com/search/docs/appearance/structured-data/merchant-listing

// A jsonLD is a node of JSON-LD. Go sorts its keys, so that equal nodes are equal bytes.
type jsonLD map[string]any

const schema = "https://schema.org"

// productData returns a Product with its Offer.
func productData(origin, url string, f *render.PageMeta) jsonLD {
	availability := schema + "/OutOfStock"
	if f.InStock {
		availability = schema + "/InStock"
	}
	offer := jsonLD{
		"@type": "Offer", "url": url, "price": f.Price.String(), "priceCurrency": f.Currency,
		"availability": availability, "itemCondition": schema + "/NewCondition",
	}
	if f.CompareAt != nil {
		offer["priceSpecification"] = jsonLD{
			"@type": "UnitPriceSpecification", "priceType": schema + "/StrikethroughPrice",
			"price": f.CompareAt.String(), "priceCurrency": f.Currency,
		}
	}
	product := jsonLD{"@context": schema, "@type": "Product", "name": f.Title, "url": url, "sku": f.SKU, "offers": offer}
	if f.Vendor != "" {
		product["brand"] = jsonLD{"@type": "Brand", "name": f.Vendor}
	}
	if f.ImageURL != "" {
		product["image"] = resolveURL(origin, f.ImageURL)
	}
	if f.Summary != "" {
		product["description"] = f.Summary
	}
	return product
}

// breadcrumbs returns the path to a product's page.
func breadcrumbs(origin string, lang render.Language, all string, f *render.PageMeta) jsonLD {
	items := []jsonLD{{"@type": "ListItem", "position": 1, "name": all, "item": origin + lang.ShopPath()}}
	if f.Vendor != "" {
		items = append(items, jsonLD{"@type": "ListItem", "position": 2, "name": f.Vendor,
			"item": origin + shopQuery{vendor: f.Vendor}.path(lang.ShopPath())})
	}
	items = append(items, jsonLD{"@type": "ListItem", "position": len(items) + 1, "name": f.Title})
	return jsonLD{"@context": schema, "@type": "BreadcrumbList", "itemListElement": items}
}

// listData returns an ItemList of the product pages that a page of the shop links to.
func listData(origin string, lang render.Language, list []store.StorefrontItem) []any {
	if len(list) == 0 {
		return nil
	}
	items := make([]jsonLD, len(list))
	for i, item := range list {
		items[i] = jsonLD{"@type": "ListItem", "position": i + 1, "url": origin + lang.ProductPath(item.ID)}
	}
	return []any{jsonLD{"@context": schema, "@type": "ItemList", "itemListElement": items}}
}

// resolveURL returns the absolute form of a URL that may be a path on this host.
func resolveURL(origin, url string) string {
	if strings.HasPrefix(url, "/") && !strings.HasPrefix(url, "//") {
		return origin + url
	}
	return url
}
