package admin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"shelfcast/render"
)

// serveDocuments serves the OpenAPI document in each of its forms. A form is made once, and sent without a copy.
func serveDocuments(app *fiber.App, document *huma.OpenAPI) {
	for path, form := range map[string]struct {
		contentType string
		make        func() ([]byte, error)
	}{
		"/api/openapi.json":     {"application/openapi+json", document.MarshalJSON},
		"/api/openapi-3.0.json": {"application/openapi+json", document.Downgrade},
		"/api/openapi.yaml":     {"application/openapi+yaml", document.YAML},
		"/api/openapi-3.0.yaml": {"application/openapi+yaml", document.DowngradeYAML},
	} {
		text := sync.OnceValues(form.make)
		app.Get(path, func(c *fiber.Ctx) error {
			body, err := text()
			if err != nil {
				return err
			}
			c.Set(fiber.HeaderContentType, form.contentType)
			return c.Send(body)
		})
	}
}

// docsPage is GET /api/docs: the OpenAPI document as a page for people. It needs nothing from the internet. It is
// rendered once for each snapshot of the templates.
func (a *App) docsPage(document *huma.OpenAPI) fiber.Handler {
	data := docPage{Title: document.Info.Title, Version: document.Info.Version,
		About: strings.Split(document.Info.Description, "\n")}
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		for _, method := range []string{http.MethodGet, http.MethodPost,
			http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if op := operationOf(document.Paths[path], method); op != nil {
				data.add(op, document.Components.Schemas)
			}
		}
	}
	type rendered struct {
		templates any // the snapshot that it was rendered from
		assets    string
		body      []byte
	}
	var last atomic.Pointer[rendered]
	return func(c *fiber.Ctx) error {
		page := rendered{templates: a.Templates.Snapshot(), assets: a.Assets.Path()} // read before rendering
		if r := last.Load(); r != nil && r.templates == page.templates && r.assets == page.assets {
			return sendPage(c, r.body)
		}
		var html bytes.Buffer
		if err := a.Templates.Page(&html, "docs", render.Page{Assets: page.assets, Data: data}); err != nil {
			return err
		}
		page.body = html.Bytes()
		last.Store(&page)
		return sendPage(c, page.body)
	}
}

// A docPage is the data of the template "docs".
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
		f := docField{Name: param.Name, Where: param.In, Required: param.Required,
			Description: param.Description, Type: typeText(param.Schema, schemas)}
		if param.Schema.Default != nil {
			f.Default = fmt.Sprint(param.Schema.Default)
		}
		d.Inputs = append(d.Inputs, f)
	}
	if op.RequestBody != nil {
		types := slices.Sorted(maps.Keys(op.RequestBody.Content))
		d.BodyTypes = strings.Join(types, ", ")
		content := op.RequestBody.Content[types[0]]
		d.Body = indentJSON(content.Example)
		d.Fields = appendFields(nil, content.Schema, schemas, 0)
	}
	for _, code := range slices.Sorted(maps.Keys(op.Responses)) {
		d.Answers = append(d.Answers, docAnswer{code, op.Responses[code].Description})
		for _, kind := range slices.Sorted(maps.Keys(op.Responses[code].Content)) {
			if example := op.Responses[code].Content[kind].Example; code < "300" && example != nil && d.Answer == "" {
				d.Answer = indentJSON(example)
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

// indentJSON returns an example as indented JSON, or as it is if it is text.
func indentJSON(example any) string {
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

// appendFields appends the fields of an object, each followed by the fields within it.
func appendFields(fields []docField, s *huma.Schema, schemas huma.Registry, depth int) []docField {
	s = resolved(s, schemas)
	if s != nil && s.Items != nil {
		return appendFields(fields, s.Items, schemas, depth)
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
		fields = appendFields(append(fields, f), field, schemas, depth+1)
	}
	return fields
}

func resolved(s *huma.Schema, schemas huma.Registry) *huma.Schema {
	if s != nil && s.Ref != "" {
		return schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// typeText returns a type in words.
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
