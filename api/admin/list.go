package admin

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"shelfcast/store"
)

// ProductFilter is embedded in the input of operations on many products.
type ProductFilter struct {
	SKU          string `query:"sku" maxLength:"190" doc:"Only this SKU"`
	ExternalID   string `query:"external_id" maxLength:"190" doc:"Only the product with this id in another system" example:"odoo:product.template:42"`
	Vendor       string `query:"vendor" maxLength:"255" doc:"Only of this vendor"`
	Text         string `query:"q" maxLength:"255" doc:"Text in the title or the SKU"`
	Published    string `query:"published" enum:"true,false" doc:"Only published, or only unpublished products"`
	Archived     string `query:"archived" enum:"false,true,any" default:"false" doc:"Without archived products, only archived ones, or both"`
	ChangedSince int64  `query:"changed_since" minimum:"0" doc:"Only products whose version is above this one"`
}

func (p ProductFilter) filter() store.Filter {
	f := store.Filter{SKU: p.SKU, ExternalID: p.ExternalID, Vendor: p.Vendor, Text: p.Text, ChangedAfter: p.ChangedSince}
	if p.Published != "" {
		published := p.Published == "true"
		f.Published = &published
	}
	switch p.Archived {
	case "true":
		f.Archived = store.OnlyArchived
	case "any":
		f.Archived = store.WithArchived
	}
	return f
}

type listAnswer struct {
	Body struct {
		Products []listed `json:"products" nullable:"false"`
		Next     string   `json:"next,omitempty" doc:"The cursor of the next page; absent on the last"`
	}
}

// A listCursor is where a page of a list ended.
type listCursor struct {
	store.Cursor
	Sort store.Sort `json:"s"`
}

func (a *App) list(ctx context.Context, in *struct {
	ProductFilter
	Cursor string   `query:"cursor" doc:"next of the previous page"`
	Limit  int      `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Maximum number of products; fewer if they have long descriptions"`
	Sort   string   `query:"sort" enum:"id,-id,title,-title,price,-price,stock,-stock,version,-version" default:"id" doc:"A minus reverses the order"`
	Fields []string `query:"fields" doc:"Only these fields of each product, besides id and version" example:"[\"sku\",\"price\"]"`
}) (*listAnswer, error) {
	for _, field := range in.Fields {
		if !slices.Contains(productFields, field) {
			return nil, huma.Error422UnprocessableEntity("a product has no field " + field)
		}
	}
	page := store.Page{Sort: store.Sort(in.Sort), Limit: in.Limit}
	if in.Cursor != "" {
		var at listCursor
		if err := parseCursor(in.Cursor, &at); err != nil {
			return nil, err
		}
		if at.Sort != page.Sort {
			return nil, huma.Error400BadRequest("the cursor belongs to a list with another sort")
		}
		page.After = &at.Cursor
	}
	products, more, err := a.DB.List(ctx, in.filter(), page)
	if err != nil {
		return nil, err
	}
	out := &listAnswer{}
	if more {
		out.Body.Next = cursor(listCursor{page.Sort.CursorOf(products[len(products)-1]), page.Sort})
	}
	out.Body.Products = make([]listed, len(products)) // [] and not null
	for i, p := range products {
		out.Body.Products[i] = listed{p, in.Fields}
	}
	return out, nil
}

// productFields are the names of a product's fields in JSON.
var productFields = func() []string {
	var fields map[string]json.RawMessage
	text, err := json.Marshal(store.Product{})
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		panic(err)
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	return names
}()

// listed is a product of a list, with the requested fields.
type listed struct {
	store.Product
	fields []string // empty: all
}

// MarshalJSON leaves out the fields that were not requested.
func (l listed) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(l.Product)
	if err != nil || len(l.fields) == 0 {
		return text, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for name := range all {
		if name != "id" && name != "version" && !slices.Contains(l.fields, name) {
			delete(all, name)
		}
	}
	return json.Marshal(all)
}

// Schema returns the schema of a product of which all but id and version may be missing.
func (listed) Schema(r huma.Registry) *huma.Schema {
	schema := *r.SchemaFromRef(r.Schema(reflect.TypeFor[store.Product](), true, "Product").Ref)
	schema.Required = []string{"id", "version"}
	return &schema
}
