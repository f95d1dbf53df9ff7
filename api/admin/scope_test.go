package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"shelfcast/api/auth"
	"shelfcast/store"
)

// scopeExceptions lists the operations whose scopes do not follow from their method. A caller needs one of the scopes.
var scopeExceptions = map[string][]string{
	"GET /tokens":         {store.AdminTokens},
	"POST /tokens":        {store.AdminTokens},
	"DELETE /tokens/{id}": {store.AdminTokens},
	"GET /caller":         {store.ReadProducts, store.WriteProducts, store.AdminTokens, ""}, // any token
}

// wantScopes returns the scopes of which a caller of METHOD PATH needs one: who reads needs to read products, and
// everybody else to write them. Anything else is in scopeExceptions, so that such a change is made twice, on purpose.
func wantScopes(operation string) []string {
	if scopes, ok := scopeExceptions[operation]; ok {
		return scopes
	}
	if strings.HasPrefix(operation, "GET ") {
		return []string{store.ReadProducts, store.WriteProducts}
	}
	return []string{store.WriteProducts}
}

// statusOf returns the status of a request with this token.
func statusOf(t testing.TB, app *fiber.App, method, path, token string) int {
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

// Each operation admits exactly the sets of scopes that wantScopes says. A query parameter that no operation has makes
// an admitted call fail before it does anything.
func TestScopesAreEnforcedOnEveryOperation(t *testing.T) {
	b := newOfflineAdmin(t)
	app := b.app
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
	operations := map[string][]string{}
	for path, methods := range document.Paths {
		for method, op := range methods {
			name := strings.ToUpper(method) + " " + strings.TrimPrefix(path, apiPath)
			operations[name] = wantScopes(name)
			if len(op.Security) != 1 || op.Security[0]["token"] == nil {
				t.Errorf("%s: the document does not say who may call it: %v", name, op.Security)
			}
		}
	}
	for name := range scopeExceptions {
		if operations[name] == nil {
			t.Errorf("there is no operation %s", name)
		}
	}
	for set := range 1 << len(store.Scopes) {
		var scopes []string
		for i, scope := range store.Scopes {
			if set&(1<<i) != 0 {
				scopes = append(scopes, scope)
			}
		}
		token := fmt.Sprint("token ", set)
		b.valid[token] = store.Token{ID: int64(set + 1), Scopes: scopes}
		for name, one := range operations {
			method, path, _ := strings.Cut(name, " ")
			path = apiPath + strings.ReplaceAll(path, "{id}", "1") + "?no_such_parameter=1"
			may := slices.ContainsFunc(one, func(s string) bool { return s == "" || slices.Contains(scopes, s) })
			want := http.StatusForbidden
			if may {
				want = http.StatusUnprocessableEntity
			}
			if got := statusOf(t, app, method, path, token); got != want {
				t.Errorf("%s with %q: %d, want %d", name, scopes, got, want)
			}
		}
	}
	for name := range operations {
		method, path, _ := strings.Cut(name, " ")
		path = apiPath + strings.ReplaceAll(path, "{id}", "1")
		if got := statusOf(t, app, method, path, ""); got != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", name, got)
		}
	}
}

// An operation without a scope cannot be registered, and one that is added past register admits nobody.
func TestOperationsWithoutAScopeAreRefused(t *testing.T) {
	for _, scope := range []string{"", "products:delete", "products:read products:write"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("the scope %q was taken", scope)
				}
			}()
			r := &registry{api: huma.NewAPI(huma.DefaultConfig("", ""), nil), admin: &App{}}
			registerRead(r, operation{id: "x", method: "GET", path: "/x", tag: "X", scope: scope}, (&App{}).whoami)
		}()
	}
	for _, op := range []huma.Operation{
		{},
		{Security: []map[string][]string{{"token": {}}}},
		{Security: []map[string][]string{{"token": {""}}}, Metadata: map[string]any{scopeKey: ""}},
	} {
		app := fiber.New()
		gate := auth.New(auth.Config{Tokens: tokenTable{"all scopes": {ID: 1, Scopes: store.Scopes}},
			Limiter: &auth.Limiter{}})
		app.Use(apiPath, gate.Authenticate)
		api := huma.NewAPI((&App{}).config(), adapter{humafiber.New(app, huma.Config{}).Adapter()})
		api.UseMiddleware(requireScope(api))
		op.OperationID, op.Method, op.Path = "x", "GET", apiPath+"/x"
		huma.Register(api, op, (&App{}).whoami)
		op.OperationID, op.Path = "y", "/y" // where nobody is authenticated
		op.Metadata = map[string]any{scopeKey: anyToken}
		huma.Register(api, op, (&App{}).whoami)
		for _, path := range []string{apiPath + "/x", "/y"} {
			if got := statusOf(t, app, "GET", path, "all scopes"); got != http.StatusForbidden {
				t.Errorf("%s of %v: %d", path, op.Security, got)
			}
		}
	}
}

// The routes of the app that are no operations are in this list: they are open to whoever reaches the app's address.
// Everything else needs a token.
func TestAdminRoutesWithoutATokenAreListed(t *testing.T) {
	admin := newOfflineAdmin(t).app
	open := []string{
		"GET /", "GET /admin", "GET /admin/", "GET /assets/*", // the page for staff, which contains no data
		"GET /api/docs", "GET /api/openapi.json", "GET /api/openapi.yaml",
		"GET /api/openapi-3.0.json", "GET /api/openapi-3.0.yaml",
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
			if got := statusOf(t, admin, r.Method, path, ""); got != http.StatusUnauthorized {
				t.Errorf("%s %s without a token: %d", r.Method, path, got)
			}
		}
	}
}
