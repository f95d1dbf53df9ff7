package server_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"shelfcast/server"
)

// Tokens of an identity provider work like our own on every instance, within their
// scopes, and the history names their owners.
func TestIdentityProviderTokens(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"k1","x":%q}]}`,
			base64.RawURLEncoding.EncodeToString(public))
	}))
	t.Cleanup(provider.Close)
	f := startFleet(t, func(s *server.Settings) {
		s.JWT = server.JWT{JWKS: provider.URL, Issuer: "https://id.example", Audience: "shelfcast"}
	})
	sign := func(who, scope, audience string) string {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
			"iss": "https://id.example", "aud": audience, "sub": who, "email": who + "@example.com", "email_verified": true,
			"scope": scope, "exp": time.Now().Add(time.Hour).Unix(),
		})
		token.Header["kid"] = "k1"
		signed, err := token.SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	anna, ben := sign("anna", "openid products:write", "shelfcast"), sign("ben", "products:read", "shelfcast")
	for n := range f.instances {
		f.ask(t, n, 200, "GET", productPath(mug), "", bearer(ben))
		f.ask(t, n, 403, "POST", productPath(mug)+"/archive", "",
			http.Header{"Authorization": {"Bearer " + ben}, "If-Match": {etag(mug.Rev)}})
		f.ask(t, n, 401, "GET", productPath(mug), "", bearer(sign("anna", "products:write", "another")))
		f.ask(t, n, 401, "GET", productPath(mug), "", bearer(anna[:len(anna)-4]+"AAAA"))
	}
	f.ask(t, 1, 200, "PATCH", productPath(lamp), `{"stock":1}`,
		http.Header{"Authorization": {"Bearer " + anna}, "If-Match": {etag(lamp.Rev)}})
	_, history := f.ask(t, 0, 200, "GET", productPath(lamp)+"/history?limit=1", "", bearer(ben))
	if !strings.Contains(history, `"author":"anna@example.com","author_key":"jwt:`) {
		t.Error(history)
	}
	f.token(t, "ours", "products:read") // our own tokens continue to work
	f.token(t, "anna@example.com", "products:write")
	_, answer := f.ask(t, 0, 200, "GET", "/api/v1/tokens", "", nil)
	if !strings.Contains(answer, `"created_by":"admin token","created_by_key":"root"`) {
		t.Error(answer)
	}
}
