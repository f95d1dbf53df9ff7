package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"shelfcast/render"
)

// docs is GET /api/docs: the OpenAPI document as a page for people, made of
// nothing but itself, so that it is there without the internet.
func (a *Admin) docs(document *huma.OpenAPI) fiber.Handler {
	data := docPage{Title: document.Info.Title, Version: document.Info.Version, About: strings.Split(document.Info.Description, "\n")}
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if op := operationOf(document.Paths[path], method); op != nil {
				data.add(op, document.Components.Schemas)
			}
		}
	}
	return func(c *fiber.Ctx) error {
		var html bytes.Buffer
		if err := a.Templates.Page(&html, "docs", render.Page{Assets: a.Assets.Path(), Data: data}); err != nil {
			return err
		}
		return sendPage(c, html.Bytes())
	}
}

// A docPage is what its template is given.
type docPage struct {
	Title, Version string
	About          []string
	Groups         []*docGroup
}

type docGroup struct {
	Name       string
	Operations []docOperation
}

type docOperation struct {
	ID, Method, Path, Summary, Scope string
	Description                      []string // paragraphs
	Inputs                           []docField
	Body, BodyTypes, Answer          string
	Fields                           []docField // of the body
	Answers                          []docAnswer
}

type docField struct {
	Depth                int
	Name, Where, Type    string
	Required             bool
	Description, Default string
}

type docAnswer struct{ Code, Description string }

func (p *docPage) add(op *huma.Operation, schemas huma.Registry) {
	d := docOperation{
		ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary,
		Description: strings.Split(op.Description, "\n\n"), Scope: strings.Join(op.Security[0]["token"], " "),
	}
	for _, param := range op.Parameters {
		f := docField{Name: param.Name, Where: param.In, Required: param.Required, Description: param.Description, Type: typeText(param.Schema, schemas)}
		if param.Schema.Default != nil {
			f.Default = fmt.Sprint(param.Schema.Default)
		}
		d.Inputs = append(d.Inputs, f)
	}
	if op.RequestBody != nil {
		types := slices.Sorted(maps.Keys(op.RequestBody.Content))
		d.BodyTypes = strings.Join(types, ", ")
		content := op.RequestBody.Content[types[0]]
		d.Body = pretty(content.Example)
		d.Fields = fieldsOf(nil, content.Schema, schemas, 0)
	}
	for _, code := range slices.Sorted(maps.Keys(op.Responses)) {
		d.Answers = append(d.Answers, docAnswer{code, op.Responses[code].Description})
		for _, kind := range slices.Sorted(maps.Keys(op.Responses[code].Content)) {
			if example := op.Responses[code].Content[kind].Example; code < "300" && example != nil && d.Answer == "" {
				d.Answer = pretty(example)
			}
		}
	}
	at := slices.IndexFunc(p.Groups, func(g *docGroup) bool { return g.Name == op.Tags[0] })
	if at < 0 {
		at = len(p.Groups)
		p.Groups = append(p.Groups, &docGroup{Name: op.Tags[0]})
	}
	p.Groups[at].Operations = append(p.Groups[at].Operations, d)
}

// pretty is an example as people read it.
func pretty(example any) string {
	if text, ok := example.(string); ok {
		return text
	}
	if example == nil {
		return ""
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(example); err != nil {
		return ""
	}
	return strings.TrimSpace(text.String())
}

// fieldsOf has the fields of an object, those within it behind it.
func fieldsOf(fields []docField, s *huma.Schema, schemas huma.Registry, depth int) []docField {
	s = resolved(s, schemas)
	if s != nil && s.Items != nil {
		return fieldsOf(fields, s.Items, schemas, depth)
	}
	if s == nil || depth > 3 {
		return fields
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field := s.Properties[name]
		f := docField{
			Depth: depth, Name: name, Type: typeText(field, schemas), Required: slices.Contains(s.Required, name),
			Description: cmp.Or(field.Description, resolved(field, schemas).Description),
		}
		if field.Default != nil {
			f.Default = fmt.Sprint(field.Default)
		}
		fields = fieldsOf(append(fields, f), field, schemas, depth+1)
	}
	return fields
}

func resolved(s *huma.Schema, schemas huma.Registry) *huma.Schema {
	if s != nil && s.Ref != "" {
		return schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// typeText is a type in words.
func typeText(s *huma.Schema, schemas huma.Registry) string {
	s = resolved(s, schemas)
	switch {
	case s == nil:
		return ""
	case s.Items != nil:
		return "list of " + typeText(s.Items, schemas)
	case len(s.Enum) > 0:
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		return strings.Join(values, " | ")
	case len(s.OneOf) > 0:
		return "decimal"
	case s.Nullable:
		return s.Type + " or null"
	}
	return s.Type
}
