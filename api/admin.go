package api

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/store/tracing"
)

// Admin is what the admin app is made of.
type Admin struct {
	DB             *store.DB
	Hub            *realtime.Hub
	Bus            *realtime.Bus
	Templates      *render.Templates
	Assets         *Assets
	Health         Health
	Token          string          // a bearer token that may do everything; "": there are only those of the database
	JWT            *JWT            // bearer tokens of a provider; nil: there are none
	Limiter        *Limiter        // of calls; required
	CallsPerMinute int             // of a caller, over the fleet; 0: no limit
	TriesPerMinute int             // of an address, with tokens that are not known from there; 0: no limit
	TrustedProxies []Network       // whose X-Forwarded-For is believed
	Hosts          []string        // names that it answers to, besides localhost and addresses; "*": all
	Closing        <-chan struct{} // closed when those who wait for changes are to be answered; nil: never
	Metrics        http.Handler    // of GET /metrics
	Tracer         trace.Tracer    // of calls of the API; nil: nothing is traced
	Registerer     prometheus.Registerer
	Version        string // of the program
	Log            *slog.Logger

	bodies  *intake
	gate    *gate
	waiting waiting // for changes
}

// apiPath is where the API begins.
const apiPath = "/api/v1"

// App makes the Fiber app. It is never to be reachable from the internet.
func (a *Admin) App() *fiber.App {
	a.Log = cmp.Or(a.Log, slog.Default())
	a.gate = newGate(&gate{
		tokens: a.DB, root: a.Token, jwt: a.JWT, limiter: a.Limiter, proxies: a.TrustedProxies,
		calls: Rate{Name: callsRate, Calls: a.CallsPerMinute, Per: time.Minute},
		tries: Rate{Name: triesRate, Calls: a.TriesPerMinute, Per: time.Minute},
	}, a.Registerer)
	traffic := newTraffic(a.Tracer, a.Registerer)
	a.bodies = newIntake("admin", maxAdminBodies, maxCallerBodies, 4*maxBatchBody, a.Registerer)
	app := newApp(appConfig{
		name: "shelfcast admin", csp: csp, bodies: a.bodies, first: traffic.observe,
		trustedProxies: a.TrustedProxies, log: a.Log, fail: failPlain,
	})
	app.Use(a.ownHost)
	a.Health.mount(app, true)
	app.Get("/metrics", adaptor.HTTPHandler(a.Metrics))
	app.Get("/", func(c *fiber.Ctx) error { return c.Redirect("/admin") })
	getPage(app, "/admin", a.page)
	app.Get("/assets/*", a.Assets.serve)
	app.Use(apiPath, a.gate.admit, once, minimal)
	api := huma.NewAPI(a.config(), adapter{humafiber.New(app, huma.Config{}).Adapter()})
	api.UseMiddleware(scoped(api), whole)
	b := &book{api: api, admin: a}
	b.products()
	b.bulk()
	b.transfer()
	b.changes()
	b.odoo()
	b.tokens()
	app.Get("/api/docs", a.docs(api.OpenAPI()))
	traffic.know(app)
	return app
}

func (a *Admin) config() huma.Config {
	config := huma.DefaultConfig("Shelfcast admin API", a.Version)
	config.Info.Description = apiDescription
	config.OpenAPIPath = "/api/openapi"
	config.DocsPath = "" // its page would load a script from the internet
	config.SchemasPath = ""
	config.CreateHooks = nil // no links to schemas in the answers
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {
		Type: "http", Scheme: "bearer", Description: "A token made with `shelfcast token create`, or a JWT of the company's provider. The roles are scopes.",
	}}
	return config
}

func (a *Admin) page(c *fiber.Ctx) error {
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

// scoped refuses a call whose caller lacks the scope of the operation. It refuses
// every call of an operation that has none, and every call that the gate has not
// let in.
func scoped(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		scope, _ := ctx.Operation().Metadata[needs].(string)
		caller := callerOf(ctx.Context())
		if caller.Key != "" && (scope == anyToken || caller.Has(scope)) {
			next(ctx)
			return
		}
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="shelfcast", error="insufficient_scope", scope="`+scope+`"`)
		_ = huma.WriteErr(api, ctx, http.StatusForbidden, "the token lacks the scope "+scope)
	}
}

// minimal leaves out the body of an answer that its caller does not want
// (RFC 7240).
func minimal(c *fiber.Ctx) error {
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

// answers gives a handler the errors of the API.
func answers[I, O any](a *Admin, handle func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err == nil {
			return out, nil
		}
		p, headers, known := problem(err)
		if !known {
			a.Log.ErrorContext(ctx, "admin request failed", "error", err)
		}
		return nil, huma.ErrorWithHeaders(withTrace(p, tracing.ID(ctx)), headers)
	}
}
