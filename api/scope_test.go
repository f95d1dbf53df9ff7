package api

import (
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/web"
)

// scopesOfOperations has for each operation of the API the scopes of which its
// caller needs one. It is written by hand: a change of who may do what is a change
// here.
var scopesOfOperations = map[string][]string{
	"GET /products":                 {store.ReadProducts, store.WriteProducts},
	"GET /products/{id}":            {store.ReadProducts, store.WriteProducts},
	"GET /products/{id}/history":    {store.ReadProducts, store.WriteProducts},
	"GET /products:export":          {store.ReadProducts, store.WriteProducts},
	"GET /pages":                    {store.ReadProducts, store.WriteProducts},
	"GET /changes":                  {store.ReadProducts, store.WriteProducts},
	"POST /products":                {store.WriteProducts},
	"PUT /products/{id}":            {store.WriteProducts},
	"PATCH /products/{id}":          {store.WriteProducts},
	"POST /products/{id}/archive":   {store.WriteProducts},
	"POST /products/{id}/restore":   {store.WriteProducts},
	"POST /products/{id}/publish":   {store.WriteProducts},
	"POST /products/{id}/unpublish": {store.WriteProducts},
	"POST /products:batch":          {store.WriteProducts},
	"POST /products:reprice":        {store.WriteProducts},
	"POST /products:refresh":        {store.WriteProducts},
	"POST /products:import":         {store.WriteProducts},
	"POST /odoo/broadcasts":         {store.WriteProducts},
	"GET /tokens":                   {store.AdminTokens},
	"POST /tokens":                  {store.AdminTokens},
	"DELETE /tokens/{id}":           {store.AdminTokens},
	"GET /caller":                   {store.ReadProducts, store.WriteProducts, store.AdminTokens, ""}, // whoever it is
}

// anAdmin is an admin app that takes the tokens of a provider, and has no database
// and no Redis behind it.
func anAdmin(t testing.TB, change ...func(*Admin)) *fiber.App {
	t.Helper()
	assets, err := LoadAssets(web.Assets)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1}) // nobody is there
	t.Cleanup(func() { rdb.Close() })
	metrics, log := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	a := &Admin{
		Templates: templatesOf(t), Assets: assets, Metrics: http.NotFoundHandler(), Registerer: metrics, Log: log,
		JWT: trusts(t, newProvider(t, edSigner)).JWT, Limiter: NewLimiter(rdb, store.NamedShop("tests"), metrics, log),
	}
	for _, c := range change {
		c(a)
	}
	return a.App()
}

func templatesOf(t testing.TB) *render.Templates {
	t.Helper()
	templates, err := render.Load(render.Config{Files: []fs.FS{web.Templates}})
	if err != nil {
		t.Fatal(err)
	}
	return templates
}

// asked is the status of a request that has this token.
func asked(t testing.TB, app *fiber.App, method, path, token string) int {
	t.Helper()
	request := httptest.NewRequest(method, path, nil)
	request.Host = "localhost"
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := app.Test(request, -1)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	response.Body.Close()
	return response.StatusCode
}

// The document has the operations of the table and no others, and each of them,
// with each set of scopes that a token may have, lets in exactly those that the
// table says. A query parameter that no operation has ends a call that was let in.
func TestScopesAreEnforcedOnEveryOperation(t *testing.T) {
	app := anAdmin(t)
	request := httptest.NewRequest("GET", "/api/openapi.json", nil)
	request.Host = "localhost"
	response, err := app.Test(request, -1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]struct{ Security []map[string][]string }
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	operations := 0
	for path, methods := range document.Paths {
		for method, op := range methods {
			operations++
			name := strings.ToUpper(method) + " " + strings.TrimPrefix(path, apiPath)
			if _, known := scopesOfOperations[name]; !known || len(op.Security) != 1 || op.Security[0]["token"] == nil {
				t.Errorf("%s: nobody has said in the table who may call it, or the document does not: %v", name, op.Security)
			}
		}
	}
	if operations != len(scopesOfOperations) {
		t.Errorf("the document has %d operations, the table %d", operations, len(scopesOfOperations))
	}
	for set := range 1 << len(store.Scopes) {
		var scopes []string
		for i, scope := range store.Scopes {
			if set&(1<<i) != 0 {
				scopes = append(scopes, scope)
			}
		}
		token := edSigner.token(jwt.MapClaims{"scope": strings.Join(scopes, " ")})
		for name, one := range scopesOfOperations {
			method, path, _ := strings.Cut(name, " ")
			path = apiPath + strings.ReplaceAll(path, "{id}", "1") + "?no_such_parameter=1"
			may := slices.ContainsFunc(one, func(s string) bool { return s == "" || slices.Contains(scopes, s) })
			want := http.StatusForbidden
			if may {
				want = http.StatusUnprocessableEntity
			}
			if got := asked(t, app, method, path, token); got != want {
				t.Errorf("%s with %q: %d, want %d", name, scopes, got, want)
			}
		}
	}
	for name := range scopesOfOperations {
		method, path, _ := strings.Cut(name, " ")
		if got := asked(t, app, method, apiPath+strings.ReplaceAll(path, "{id}", "1"), ""); got != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", name, got)
		}
	}
}

// An operation of which nobody has said who may call it cannot be registered, and
// one that comes into the document past register is open to nobody.
func TestAnOperationWithoutAScopeIsOpenToNobody(t *testing.T) {
	for _, scope := range []string{"", "products:delete", "products:read products:write"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("the scope %q was taken", scope)
				}
			}()
			b := &book{api: huma.NewAPI(huma.DefaultConfig("", ""), nil), admin: &Admin{}}
			reads(b, entry{id: "x", method: "GET", path: "/x", tag: "X", scope: scope}, (&Admin{}).whoami)
		}()
	}
	for _, op := range []huma.Operation{
		{},
		{Security: []map[string][]string{{"token": {}}}},
		{Security: []map[string][]string{{"token": {""}}}, Metadata: map[string]any{needs: ""}},
	} {
		app := fiber.New()
		gate := newGate(&gate{jwt: trusts(t, newProvider(t, edSigner)).JWT, limiter: &Limiter{}}, prometheus.NewRegistry())
		app.Use(apiPath, gate.admit)
		api := huma.NewAPI((&Admin{}).config(), adapter{humafiber.New(app, huma.Config{}).Adapter()})
		api.UseMiddleware(scoped(api))
		op.OperationID, op.Method, op.Path = "x", "GET", apiPath+"/x"
		huma.Register(api, op, (&Admin{}).whoami)
		op.OperationID, op.Path = "y", "/y" // where there is no gate
		op.Metadata = map[string]any{needs: anyToken}
		huma.Register(api, op, (&Admin{}).whoami)
		all := edSigner.token(jwt.MapClaims{"scope": strings.Join(store.Scopes, " ")})
		for _, path := range []string{apiPath + "/x", "/y"} {
			if got := asked(t, app, "GET", path, all); got != http.StatusForbidden {
				t.Errorf("%s of %v: %d", path, op.Security, got)
			}
		}
	}
}

// Each route of the two apps that is no operation of the API is in this list, which
// says that it is open to whoever reaches the app's address. What the list lacks
// has to be behind a token.
func TestRoutesWithoutATokenAreKnown(t *testing.T) {
	admin := anAdmin(t)
	open := []string{
		"GET /", "GET /admin", "GET /admin/", "GET /assets/*", // the page for staff, which has no data of its own
		"GET /api/docs", "GET /api/openapi.json", "GET /api/openapi.yaml", "GET /api/openapi-3.0.json", "GET /api/openapi-3.0.yaml",
		"GET /livez", "GET /readyz", "GET /metrics", // for the cluster; docs/operations.md says who is to reach the port
	}
	var found []string
	for _, r := range admin.GetRoutes(true) {
		if r.Method == http.MethodHead || strings.HasPrefix(r.Path, apiPath+"/") {
			continue
		}
		if found = append(found, r.Method+" "+r.Path); !slices.Contains(open, found[len(found)-1]) {
			t.Errorf("the admin app has %s %s, of which nobody has said that it needs no token", r.Method, r.Path)
		}
	}
	if len(found) != len(open) {
		t.Errorf("the admin app has %v, the list %v", found, open)
	}
	for _, r := range admin.GetRoutes() { // of middlewares as well
		if path := strings.NewReplacer(":id", "1", `\:`, ":", "*", "x").Replace(r.Path); strings.HasPrefix(path, apiPath) {
			if got := asked(t, admin, r.Method, path, ""); got != http.StatusUnauthorized {
				t.Errorf("%s %s without a token: %d", r.Method, path, got)
			}
		}
	}
	public := (&Public{Templates: templatesOf(t), Log: slog.New(slog.DiscardHandler)}).App()
	shop := []string{
		"GET /", "GET /shop", "GET /shop/", "GET /shop/products/:id", "GET /shop/products/:id/", "GET /robots.txt", "GET /sitemap.xml", "GET /sitemaps/products-:number.xml",
		"GET /assets/*", "GET /favicon.ico", "GET /fragments", "GET /fragments/:view/:id",
		"GET /live", "GET /live/sse", "GET /live/poll", "GET /websocket", "GET /websocket/", "GET /websocket/health",
		"GET /product/tree/sync", "POST /product/tree/sync", "GET /livez", "GET /readyz",
	}
	found = nil
	for _, r := range public.GetRoutes(true) {
		if r.Method != http.MethodHead {
			if found = append(found, r.Method+" "+r.Path); !slices.Contains(shop, found[len(found)-1]) {
				t.Errorf("everybody reaches %s %s of the public app, of which nobody has said so", r.Method, r.Path)
			}
		}
	}
	if len(found) != len(shop) {
		t.Errorf("the public app has %v, the list %v", found, shop)
	}
}
