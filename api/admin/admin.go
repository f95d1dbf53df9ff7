// Package admin is the admin app: the operations of the OpenAPI document, and the page for shop staff. A handler
// parses, makes one call and answers. What writes goes through commitThenPublish (commit.go). How to add an operation
// is in registry.go.
package admin

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"shelfcast/api/auth"
	"shelfcast/api/httpx"
	"shelfcast/api/problem"
	"shelfcast/internal/tracing"
	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
)

// An App is the admin app, for shop staff and programs: the operations of the OpenAPI document, the page for staff, and
// metrics. The fields are its dependencies and settings.
type App struct {
	DB                *store.DB
	Hub               *realtime.Hub
	Fleet             *realtime.Fleet
	Templates         *render.Templates
	Assets            *httpx.Assets
	Health            httpx.Health
	RootToken         string          // a bearer token with all scopes; "": only those of the database and the provider
	JWT               *auth.JWT       // bearer tokens of an identity provider; nil: none
	Limiter           *auth.Limiter   // limits the calls; required
	CallsPerMinute    int             // per caller, over the fleet; 0: no limit
	AttemptsPerMinute int             // per address, with tokens that were not valid from there before; 0: no limit
	TrustedProxies    []httpx.Network // whose X-Forwarded-For is trusted
	Hosts             []string        // names that it answers to, besides localhost and IP addresses; "*": all
	Closing           <-chan struct{} // closed when calls that wait for changes must be answered; nil: never
	Metrics           http.Handler    // GET /metrics
	Tracer            trace.Tracer    // traces calls of the API; nil: no traces
	Registerer        prometheus.Registerer
	Version           string // of the program
	Log               *slog.Logger

	tokens         auth.TokenSource // nil: DB
	bodies         *httpx.BodyLimiter
	authentication *auth.Middleware
	changeLog      changeLog
	waiters        waiters // calls that wait for changes
}

// apiPath is the path below which the operations of the API are.
const apiPath = "/api/v1"

// Limits of request bodies.
const (
	maxBody         = 1 << 20
	maxBatchBody    = 16 << 20 // of operations on many products
	maxBodies       = 64 << 20 // of all that are being received
	maxCallerBodies = 32 << 20 // of those of one token
)

// Fiber returns the Fiber app. It must not be reachable from the internet.
func (a *App) Fiber() *fiber.App {
	a.Log = cmp.Or(a.Log, slog.Default())
	if a.tokens == nil {
		a.tokens = a.DB
	}
	a.authentication = auth.New(auth.Config{
		Tokens: a.tokens, RootToken: a.RootToken, JWT: a.JWT, Limiter: a.Limiter, CallsPerMinute: a.CallsPerMinute,
		AttemptsPerMinute: a.AttemptsPerMinute, TrustedProxies: a.TrustedProxies, Metrics: a.Registerer,
	})
	a.changeLog = newChangeLog(a.DB)
	traffic := newTraffic(a.Tracer, a.Registerer)
	a.bodies = httpx.NewBodyLimiter("admin", maxBodies, maxCallerBodies, 4*maxBatchBody, a.Registerer)
	app := httpx.NewApp(httpx.AppConfig{
		Name: "shelfcast admin", CSP: httpx.CSP, Bodies: a.bodies, First: traffic.observe,
		TrustedProxies: a.TrustedProxies, Log: a.Log, Fail: problem.Write,
	})
	app.Use(a.checkHost)
	app.Use(newLargeAnswers(a.TrustedProxies, a.Registerer).limit)
	a.Health.Mount(app, true)
	app.Get("/metrics", adaptor.HTTPHandler(a.Metrics))
	app.Get("/", func(c *fiber.Ctx) error { return c.Redirect("/admin") })
	httpx.GetPage(app, "/admin", a.page)
	app.Get("/assets/*", a.Assets.Serve)
	app.Use(apiPath, a.authentication.Authenticate, idempotency, preferMinimal)
	api := huma.NewAPI(a.config(), adapter{humafiber.New(app, huma.Config{}).Adapter()})
	api.UseMiddleware(requireScope(api), readWholeBody)
	r := &registry{api: api, admin: a}
	r.products()
	r.bulk()
	r.transfer()
	r.changes()
	r.odoo()
	r.tokens()
	serveDocuments(app, api.OpenAPI())
	app.Get("/api/docs", a.docsPage(api.OpenAPI()))
	traffic.registerRoutes(app)
	return app
}

func (a *App) config() huma.Config {
	config := huma.DefaultConfig("Shelfcast admin API", a.Version)
	config.Info.Description = apiDescription
	// See serveDocuments and docsPage: Huma's page would load a script from the internet.
	config.OpenAPIPath, config.DocsPath = "", ""
	config.SchemasPath = ""
	config.CreateHooks = nil // no links to schemas in the answers
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {
		Type: "http", Scheme: "bearer",
		Description: "A token made with `shelfcast token create`, or a JWT of the company's identity provider. " +
			"The roles are scopes.",
	}}
	return config
}

func (a *App) page(c *fiber.Ctx) error {
	var html bytes.Buffer
	if err := a.Templates.Page(&html, "admin", render.Page{Assets: a.Assets.Path()}); err != nil {
		return err
	}
	return sendPage(c, html.Bytes())
}

func sendPage(c *fiber.Ctx, html []byte) error {
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Send(html)
}

// requireScope refuses a call whose caller lacks the scope of the operation. It refuses every call of an operation
// without a scope, and every call that was not authenticated.
func requireScope(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		scope, _ := ctx.Operation().Metadata[scopeKey].(string)
		caller := auth.CallerFrom(ctx.Context())
		if caller.Key != "" && (scope == anyToken || caller.Has(scope)) {
			next(ctx)
			return
		}
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="shelfcast", error="insufficient_scope", scope="`+scope+`"`)
		_ = huma.WriteErr(api, ctx, http.StatusForbidden, "the token lacks the scope "+scope)
	}
}

// preferMinimal leaves out the body of an answer to a call with Prefer: return=minimal (RFC 7240).
func preferMinimal(c *fiber.Ctx) error {
	err := c.Next()
	wants := slices.ContainsFunc(strings.Split(c.Get("Prefer"), ","), func(p string) bool {
		return strings.EqualFold(strings.ReplaceAll(p, " ", ""), "return=minimal")
	})
	if status := c.Response().StatusCode(); !wants || c.GetRespHeader(fiber.HeaderETag) == "" ||
		c.Method() == http.MethodGet || status != http.StatusOK && status != http.StatusCreated {
		return err
	}
	c.Set("Preference-Applied", "return=minimal")
	c.Response().ResetBody()
	c.Response().Header.Del(fiber.HeaderContentType)
	c.Status(http.StatusNoContent)
	return err
}

// withProblems returns a handler whose errors are problem details. It logs those that clients must not see.
func withProblems[I, O any](a *App,
	handle func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err == nil {
			return out, nil
		}
		p, headers, known := problem.Of(err)
		if !known {
			a.Log.ErrorContext(ctx, "admin request failed", "error", err)
		}
		return nil, huma.ErrorWithHeaders(problem.WithTrace(p, tracing.ID(ctx)), headers)
	}
}
