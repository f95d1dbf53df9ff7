package api

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"shelfcast/store"
)

// Picks is a part of the input of calls that are about many products.
type Picks struct {
	SKU          string `query:"sku" maxLength:"190" doc:"This SKU only"`
	ExternalID   string `query:"external_id" maxLength:"190" doc:"What another system calls it: this one only" example:"odoo:product.template:42"`
	Vendor       string `query:"vendor" maxLength:"255" doc:"Of this vendor only"`
	Text         string `query:"q" maxLength:"255" doc:"Text in the title or the SKU"`
	Published    string `query:"published" enum:"true,false" doc:"Only those that are, or are not"`
	Archived     string `query:"archived" enum:"false,true,any" default:"false" doc:"Without archived products, only those, or both"`
	ChangedSince int64  `query:"changed_since" minimum:"0" doc:"Only products whose version is above this one"`
}

func (p Picks) filter() store.Filter {
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

// listPlace is where a page of a list ended.
type listPlace struct {
	store.Place
	Sort store.Sort `json:"s"`
}

func (a *Admin) list(ctx context.Context, in *struct {
	Picks
	Cursor string   `query:"cursor" doc:"The next of the page before"`
	Limit  int      `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Sort   string   `query:"sort" enum:"id,-id,title,-title,price,-price,stock,-stock,version,-version" default:"id" doc:"With a minus, the other way round"`
	Fields []string `query:"fields" doc:"Only these fields of each product, beside its id and version" example:"[\"sku\",\"price\"]"`
}) (*listAnswer, error) {
	for _, field := range in.Fields {
		if !slices.Contains(productFields, field) {
			return nil, huma.Error422UnprocessableEntity("a product has no field " + field)
		}
	}
	page := store.Page{Sort: store.Sort(in.Sort), Limit: in.Limit + 1}
	if in.Cursor != "" {
		var at listPlace
		if err := parseCursor(in.Cursor, &at); err != nil {
			return nil, err
		}
		if at.Sort != page.Sort {
			return nil, huma.Error400BadRequest("cursor is one of a list in another order")
		}
		page.After = &at.Place
	}
	products, err := a.DB.List(ctx, in.filter(), page)
	if err != nil {
		return nil, err
	}
	out := &listAnswer{}
	if len(products) > in.Limit {
		products = products[:in.Limit]
		out.Body.Next = cursor(listPlace{page.Sort.PlaceOf(products[in.Limit-1]), page.Sort})
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

// listed is a product of a list, with the fields that were asked for.
type listed struct {
	store.Product
	fields []string // nil: all
}

// MarshalJSON leaves out what was not asked for.
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

// Schema is that of a product of which all but the id and the version may be
// missing.
func (listed) Schema(r huma.Registry) *huma.Schema {
	schema := *r.SchemaFromRef(r.Schema(reflect.TypeFor[store.Product](), true, "Product").Ref)
	schema.Required = []string{"id", "version"}
	return &schema
}
