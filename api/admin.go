package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"

	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
)

// Admin is what the admin app is made of.
type Admin struct {
	DB        *store.DB
	Bus       *realtime.Bus
	Templates *render.Templates
	Assets    *Assets
	Health    Health
	Token     string       // the bearer token; the app refuses everybody while it is empty
	Metrics   http.Handler // of GET /metrics
	Version   string       // of the program
	Log       *slog.Logger
}

// App makes the Fiber app. It is never to be reachable from the internet.
func (a *Admin) App() *fiber.App {
	if a.Log == nil {
		a.Log = slog.Default()
	}
	app := newApp("shelfcast admin", maxAdminBody, nil, a.Log, failPlain)
	a.Health.mount(app, true)
	app.Get("/metrics", adaptor.HTTPHandler(a.Metrics))
	app.Get("/", func(c *fiber.Ctx) error { return c.Redirect("/admin") })
	app.Get("/admin", a.page)
	app.Get("/assets/*", a.Assets.serve)
	app.Use("/api/v1", a.authorise)
	config := huma.DefaultConfig("Shelfcast admin API", a.Version)
	config.OpenAPIPath = "/api/openapi"
	config.DocsPath = "" // its page would load a script from the internet
	config.SchemasPath = ""
	config.CreateHooks = nil // no links to schemas in the answers
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"token": {}}}
	a.routes(humafiber.New(app, config))
	return app
}

func (a *Admin) page(c *fiber.Ctx) error {
	var html bytes.Buffer
	if err := a.Templates.Page(&html, "admin", render.Page{Assets: a.Assets.Path()}); err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Send(html.Bytes())
}

// authorise lets those pass who have the token. Sums are compared, so that the
// time it takes says nothing of the token, its length included.
func (a *Admin) authorise(c *fiber.Ctx) error {
	scheme, token, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	given, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(a.Token))
	if a.Token == "" || !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="shelfcast"`)
		return fiber.NewError(fiber.StatusUnauthorized, "a bearer token is required")
	}
	return c.Next()
}

const productPath = "/api/v1/products/{id}"

func (a *Admin) routes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "create-product", Method: http.MethodPost, Path: "/api/v1/products",
		Summary: "Create a product", DefaultStatus: http.StatusCreated,
	}, answers(a, a.create))
	huma.Register(api, huma.Operation{
		OperationID: "list-products", Method: http.MethodGet, Path: "/api/v1/products",
		Summary: "List products by ascending id",
	}, answers(a, a.list))
	huma.Register(api, huma.Operation{
		OperationID: "get-product", Method: http.MethodGet, Path: productPath,
		Summary: "Get a product",
	}, answers(a, a.get))
	huma.Register(api, huma.Operation{
		OperationID: "edit-product", Method: http.MethodPatch, Path: productPath,
		Summary:     "Edit a product",
		Description: "Changes the fields given and leaves the others alone. If-Match is the ETag of the version that the author has seen.",
	}, answers(a, a.edit))
	huma.Register(api, huma.Operation{
		OperationID: "archive-product", Method: http.MethodPost, Path: productPath + "/archive",
		Summary: "Take a product out of the shop",
	}, answers(a, a.archive))
}

// answers gives a handler the errors of the API.
func answers[I, O any](a *Admin, handle func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err == nil {
			return out, nil
		}
		p, headers, known := problem(err)
		if !known {
			a.Log.Error("admin request failed", "error", err)
		}
		return nil, huma.ErrorWithHeaders(p, headers)
	}
}

type productAnswer struct {
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Body     store.Product
}

func productIs(p store.Product, err error) (*productAnswer, error) {
	if err != nil {
		return nil, err
	}
	return &productAnswer{ETag: etag(p.Rev), Body: p}, nil
}

func (a *Admin) create(ctx context.Context, in *struct{ Body store.Edit }) (*productAnswer, error) {
	p, err := a.DB.Create(ctx, in.Body)
	out, err := productIs(p, err)
	if err == nil {
		out.Location = "/api/v1/products/" + strconv.FormatInt(p.ID, 10)
		a.Bus.Publish(ctx, p.Rev)
	}
	return out, err
}

func (a *Admin) get(ctx context.Context, in *struct {
	ID int64 `path:"id" minimum:"1"`
}) (*productAnswer, error) {
	return productIs(a.DB.Product(ctx, in.ID))
}

// Seen is a product and the version of it that the author of a change knows. It
// has a name to see because Huma fills no others.
type Seen struct {
	ID      int64  `path:"id" minimum:"1"`
	IfMatch string `header:"If-Match" doc:"The product's ETag"`
}

// rev is the version that If-Match names.
func (s Seen) rev() (store.Rev, error) {
	if s.IfMatch == "" {
		return store.Rev{}, huma.Error428PreconditionRequired("If-Match is required: the ETag of the version that you have seen")
	}
	version, err := strconv.ParseInt(strings.Trim(s.IfMatch, `"`), 10, 64)
	if err != nil {
		return store.Rev{}, huma.Error400BadRequest("If-Match is not an ETag of a product")
	}
	return store.Rev{ID: s.ID, Version: version}, nil
}

func (a *Admin) edit(ctx context.Context, in *struct {
	Seen
	Body store.Edit `contentType:"application/json"`
}) (*productAnswer, error) {
	return a.change(ctx, in.Seen, func(rev store.Rev) (store.Product, error) { return a.DB.Update(ctx, rev, in.Body) })
}

func (a *Admin) archive(ctx context.Context, in *struct{ Seen }) (*productAnswer, error) {
	return a.change(ctx, in.Seen, func(rev store.Rev) (store.Product, error) { return a.DB.Archive(ctx, rev) })
}

// change makes an edit and, once it is committed, tells of it.
func (a *Admin) change(ctx context.Context, s Seen, edit func(store.Rev) (store.Product, error)) (*productAnswer, error) {
	rev, err := s.rev()
	if err != nil {
		return nil, err
	}
	p, err := edit(rev)
	if err == nil && p.Rev != rev {
		a.Bus.Publish(ctx, p.Rev)
	}
	return productIs(p, err)
}

type listAnswer struct {
	Body struct {
		Products []store.Product `json:"products"`
		Next     string          `json:"next,omitempty" doc:"The cursor of the next page; absent on the last"`
	}
}

func (a *Admin) list(ctx context.Context, in *struct {
	Cursor   string `query:"cursor" doc:"The next of the page before"`
	Limit    int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	SKU      string `query:"sku"`
	Archived bool   `query:"archived" doc:"Archived products too"`
}) (*listAnswer, error) {
	after, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, huma.Error400BadRequest("cursor is not one of ours")
	}
	filter := store.Filter{SKU: in.SKU}
	if in.Archived {
		filter.Archived = store.WithArchived
	}
	products, err := a.DB.List(ctx, filter, store.Page{After: &store.Place{ID: after}, Limit: in.Limit + 1})
	if err != nil {
		return nil, err
	}
	out := &listAnswer{}
	if len(products) > in.Limit {
		products = products[:in.Limit]
		out.Body.Next = cursor(products[in.Limit-1].ID)
	}
	out.Body.Products = append([]store.Product{}, products...) // [] and not null
	return out, nil
}

// A cursor is opaque, so that the order of a list may become another one.
func cursor(id int64) string {
	return base64.RawURLEncoding.EncodeToString(strconv.AppendInt([]byte("id:"), id, 10))
}

func parseCursor(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(s)
	number, ours := strings.CutPrefix(string(text), "id:")
	if err != nil || !ours {
		return 0, errors.New("no cursor")
	}
	return strconv.ParseInt(number, 10, 64)
}
