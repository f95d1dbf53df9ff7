package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"shelfcast/server"
	"shelfcast/store"
)

// token creates a token with these scopes and returns it.
func (f *fleet) token(t testing.TB, name string, scopes ...string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"name": name, "scopes": scopes})
	if err != nil {
		t.Fatal(err)
	}
	_, answer := f.ask(t, 0, 201, "POST", "/api/v1/tokens", string(text), nil)
	return parse[struct{ Secret string }](t, answer).Secret
}

func bearer(secret string) http.Header { return http.Header{"Authorization": {"Bearer " + secret}} }

func TestScopesAreEnforcedOnEveryRoute(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	readers, writers, admins := f.token(t, "reader", store.ReadProducts), f.token(t, "writer", store.WriteProducts),
		f.token(t, "boss", store.AdminTokens)
	with := func(secret string, more http.Header) http.Header {
		h := bearer(secret)
		for k, v := range more {
			h[k] = v
		}
		return h
	}
	for _, c := range []struct {
		method, path, body string
		more               http.Header
		may                []string
	}{
		{"GET", "/api/v1/products", "", nil, []string{readers, writers}},
		{"GET", productPath(lamp) + "/history", "", nil, []string{readers, writers}},
		{"GET", "/api/v1/changes?wait=0", "", nil, []string{readers, writers}},
		{"POST", "/api/v1/products:refresh", fmt.Sprintf(`{"ids":[%d]}`, mug.ID), nil, []string{writers}},
		{"POST", "/api/v1/products:reprice?dry_run=true", `{"filter":{},"percent":"1"}`, nil, []string{writers}},
		{"GET", "/api/v1/tokens", "", nil, []string{admins}},
		{"GET", "/api/v1/caller", "", nil, []string{readers, writers, admins}},
	} {
		for n, secret := range []string{readers, writers, admins} {
			want := http.StatusForbidden
			if slices.Contains(c.may, secret) {
				want = http.StatusOK
			}
			header, answer := f.ask(t, n%2, want, c.method, c.path, c.body, with(secret, c.more))
			if want == http.StatusForbidden && (!strings.Contains(header.Get("WWW-Authenticate"), "insufficient_scope") ||
				!strings.Contains(answer, "lacks the scope")) {
				t.Errorf("%s: %v %s", c.path, header, answer)
			}
		}
	}
	_, answer := f.ask(t, 1, 200, "PATCH", productPath(lamp), `{"stock":1}`, with(writers, ifMatch(lamp.Rev)))
	lamp = parse[store.Product](t, answer)
	_, answer = f.ask(t, 0, 200, "GET", productPath(lamp)+"/history?limit=1", "", bearer(readers))
	if !strings.Contains(answer, `"author":"writer","author_key":"token:`) {
		t.Error(answer)
	}
	_, answer = f.ask(t, 0, 200, "GET", "/api/v1/tokens", "", bearer(admins))
	tokens := parse[struct{ Tokens []store.Token }](t, answer).Tokens
	if len(tokens) != 3 || strings.Contains(answer, "shelfcast_") || tokens[1].Name != "writer" ||
		tokens[1].CreatedBy != "admin token" {
		t.Errorf("%s", answer)
	}
	revoke := fmt.Sprint("/api/v1/tokens/", tokens[1].ID)
	f.ask(t, 0, 403, "DELETE", revoke, "", bearer(writers))
	f.ask(t, 0, 200, "DELETE", revoke, "", bearer(admins))
	f.ask(t, 0, 404, "DELETE", "/api/v1/tokens/999", "", bearer(admins))
	f.ask(t, 0, 401, "GET", "/api/v1/products", "", bearer(writers)) // the revoking instance refuses it at once
	f.ask(t, 0, 422, "POST", "/api/v1/tokens", `{"name":"x","scopes":["everything"]}`, bearer(admins))
	// The answer to a repeated idempotency key does not contain the secret.
	h := with(admins, http.Header{"Idempotency-Key": {"k"}})
	_, first := f.ask(t, 0, 201, "POST", "/api/v1/tokens",
		`{"name":"x","scopes":["products:read"],"expires_in_days":90}`, h)
	_, second := f.ask(t, 1, 201, "POST", "/api/v1/tokens",
		`{"name":"x","scopes":["products:read"],"expires_in_days":90}`, h)
	if !strings.Contains(first, `"secret":"shelfcast_`) || strings.Contains(second, "secret") ||
		parse[store.Token](t, first).ID != parse[store.Token](t, second).ID {
		t.Errorf("%s, then %s", first, second)
	}
}

func TestRateLimitsAreSharedByTheFleet(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.AdminCalls, s.AdminTries = 10, 5 })
	one, other := f.token(t, "one", store.ReadProducts), f.token(t, "other", store.ReadProducts)
	for n := range 10 {
		header, _ := f.ask(t, n%2, 200, "GET", "/api/v1/products", "", bearer(one))
		if want := fmt.Sprintf(`"calls";r=%d;t=`, 9-n); n < 3 && !strings.HasPrefix(header.Get("RateLimit"), want) ||
			header.Get("RateLimit-Policy") != `"calls";q=10;w=60` {
			t.Errorf("call %d: %s, %s", n, header.Get("RateLimit"), header.Get("RateLimit-Policy"))
		}
	}
	header, answer := f.ask(t, 1, 429, "GET", "/api/v1/products", "", bearer(one))
	if header.Get("Retry-After") == "" || !strings.Contains(answer, "problem:too-many-requests") {
		t.Errorf("%v %s", header, answer)
	}
	f.ask(t, 0, 200, "GET", "/api/v1/products", "", bearer(other))
	// An address that tried too many invalid tokens is refused on both instances;
	// tokens that it used before keep working.
	for n := range 5 {
		f.ask(t, n%2, 401, "GET", "/api/v1/products", "", bearer(fmt.Sprint("shelfcast_NONE", n)))
	}
	for n := range 2 {
		f.ask(t, n, 429, "GET", "/api/v1/products", "", bearer("shelfcast_NONE"))
	}
	f.ask(t, 0, 200, "GET", "/api/v1/products", "", bearer(other))
}

// A link with a token does not replace a session without a confirmation: otherwise the
// author of the link could have edits made in their name.
func TestTokenInLinkDoesNotReplaceSession(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	f.product(t, "lamp")
	f.product(t, "mug")
	theirs := f.token(t, "Mallory", store.WriteProducts)
	d := f.signedIn(t, browser(t), 0, "")
	const asked = `document.querySelector("#confirm").open && location.hash === ""`
	d.js(`location.hash = "token=` + theirs + `"`)
	d.until(asked)
	d.run(chromedp.Click(css("#confirm [data-no]")))
	d.until(`!document.querySelector("#confirm").open`)
	d.js(`location.hash = "token=` + strings.ReplaceAll(token, " ", "+") + `"`) // the same token needs no confirmation
	d.until(`location.hash === ""`)
	other := `document.querySelector("#confirm").open || sessionStorage.getItem("shelfcast.token") !== `
	if eval[bool](t, d.ctx, other+fmt.Sprintf("%q", token)) {
		t.Error("the session is another one")
	}
	// A link on another page loads the page again.
	d.run(chromedp.Navigate("http://"+f.instances[1].AdminAddr()+"/admin#token="+strings.ReplaceAll(token, " ", "+")),
		chromedp.Evaluate[chromedp.Void](watch))
	d.ready()
	d.run(chromedp.Navigate("http://"+f.instances[1].AdminAddr()+"/admin?q=mug#token="+theirs),
		chromedp.Evaluate[chromedp.Void](watch))
	d.until(asked)
	if who := d.text("#who .name"); who != "" {
		t.Errorf("before an answer it is %q", who)
	}
	d.run(chromedp.Click(css("#confirm [data-yes]")))
	d.until(`document.querySelector("#who .name").textContent.startsWith("Mallory (token ")`)
}
