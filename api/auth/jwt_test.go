package auth

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"shelfcast/api/apitest"
	"shelfcast/store"
)

func TestJWTAcceptsValidTokens(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner, edSigner)
	for _, c := range []struct {
		what   string
		change func(*JWTConfig)
		token  string
		name   string
		sub    string
		scopes string
	}{
		{what: "RSA", token: rsaSigner.token(nil), scopes: store.WriteProducts},
		{what: "RSA-PSS", token: signer{"rsa", jwt.SigningMethodPS384, rsaKey}.token(nil), scopes: store.WriteProducts},
		{what: "EC", token: ecSigner.token(nil), scopes: store.WriteProducts},
		{what: "Ed25519", token: edSigner.token(nil), scopes: store.WriteProducts},
		{what: "another", token: ecSigner.token(jwt.MapClaims{"sub": "bob", "email": "bob@example.com"}),
			sub: "bob", name: "bob@example.com", scopes: store.WriteProducts},
		{what: "several audiences", token: rsaSigner.token(jwt.MapClaims{"aud": []string{"others", "shelfcast"}}),
			scopes: store.WriteProducts},
		{what: "no nbf, no iat", token: rsaSigner.token(jwt.MapClaims{"nbf": nil, "iat": nil}), scopes: store.WriteProducts},
		{what: "clocks that differ", token: rsaSigner.token(jwt.MapClaims{
			"nbf": time.Now().Add(20 * time.Second).Unix(), "iat": time.Now().Add(20 * time.Second).Unix(),
			"exp": time.Now().Add(-20 * time.Second).Unix(),
		}), scopes: store.WriteProducts},
		{what: "unknown scopes", scopes: "products:read tokens:admin",
			token: rsaSigner.token(jwt.MapClaims{"scope": "openid products:delete tokens:admin PRODUCTS:WRITE products:read"})},
		{what: "a scope twice", token: rsaSigner.token(jwt.MapClaims{"scope": "products:read products:read"}),
			scopes: store.ReadProducts},
		{what: "a list", token: rsaSigner.token(jwt.MapClaims{"scope": []any{"tokens:admin", 7, nil, "openid"}}),
			scopes: store.AdminTokens},
		{what: "no scope", token: rsaSigner.token(jwt.MapClaims{"scope": nil})},
		{what: "scp", token: rsaSigner.token(jwt.MapClaims{"scope": nil, "scp": []string{store.ReadProducts}}),
			scopes: store.ReadProducts},
		{what: "scope goes before scp", token: rsaSigner.token(jwt.MapClaims{"scope": "", "scp": store.AdminTokens})},
		{what: "a claim of ours", change: func(c *JWTConfig) { c.ScopeClaim = "roles" },
			token:  rsaSigner.token(jwt.MapClaims{"roles": store.ReadProducts, "scp": store.AdminTokens}),
			scopes: store.ReadProducts},
		{what: "a claim of ours is not there", change: func(c *JWTConfig) { c.ScopeClaim = "roles" },
			token: rsaSigner.token(jwt.MapClaims{"scp": store.AdminTokens})},
		{what: "a name of ours", change: func(c *JWTConfig) { c.NameClaim = "name" },
			token: rsaSigner.token(jwt.MapClaims{"name": "Ada L."}), name: "Ada L.", scopes: store.WriteProducts},
		{what: "no email", token: rsaSigner.token(jwt.MapClaims{"email": nil}), name: "ada", scopes: store.WriteProducts},
		{what: "an email of nobody's", token: rsaSigner.token(jwt.MapClaims{"email_verified": false}),
			name: "ada", scopes: store.WriteProducts},
		{what: "an email of nobody's, said otherwise",
			token: rsaSigner.token(jwt.MapClaims{"email_verified": "false"}), name: "ada", scopes: store.WriteProducts},
		{what: "an email that nobody has verified",
			token: rsaSigner.token(jwt.MapClaims{"email_verified": nil}), name: "ada", scopes: store.WriteProducts},
		{what: "an email that is verified, said otherwise",
			token: rsaSigner.token(jwt.MapClaims{"email_verified": "true"}), scopes: store.WriteProducts},
		{what: "an email that is verified by a number",
			token: rsaSigner.token(jwt.MapClaims{"email_verified": 1}), name: "ada", scopes: store.WriteProducts},
		{what: "an email that is no text", token: rsaSigner.token(jwt.MapClaims{"email": 7}),
			name: "ada", scopes: store.WriteProducts},
		{what: "a name that is a page", token: rsaSigner.token(jwt.MapClaims{"email": strings.Repeat("a", maxName+1)}),
			name: "ada", scopes: store.WriteProducts},
		{what: "a name of two lines", token: rsaSigner.token(jwt.MapClaims{"email": "ada\nbob"}),
			name: "ada", scopes: store.WriteProducts},
	} {
		t.Run(c.what, func(t *testing.T) {
			j := newTestJWT(t, p, func(cfg *JWTConfig) {
				if c.change != nil {
					c.change(cfg)
				}
			})
			got := j.takes(c.token)
			sub, name := c.sub, c.name
			if sub == "" {
				sub = "ada"
			}
			if name == "" {
				name = "ada@example.com"
			}
			if got.Name != name || strings.Join(got.Scopes, " ") != c.scopes ||
				!strings.HasPrefix(got.Key, "jwt:") || !strings.HasSuffix(got.Key, ":"+sub) {
				t.Errorf("%+v, want %s, %s, %q", got, name, sub, c.scopes)
			}
		})
	}
	j, other := newTestJWT(t, p), newTestJWT(t, p, func(c *JWTConfig) { c.Issuer = "https://other.example/" })
	same := other.takes(rsaSigner.token(jwt.MapClaims{"iss": "https://other.example/"}))
	if j.takes(rsaSigner.token(nil)).Key != j.takes(ecSigner.token(jwt.MapClaims{"email": "new@example.com"})).Key ||
		j.takes(rsaSigner.token(nil)).Key == same.Key {
		t.Error("the key is not of the issuer and the sub")
	}
}

// The access tokens of common providers are accepted. If the operator configures a type, only that type is.
func TestJWTAcceptsOnlyAccessTokens(t *testing.T) {
	p := newProvider(t, rsaSigner)
	any, strict := newTestJWT(t, p), newTestJWT(t, p, func(c *JWTConfig) { c.Typ = "at+jwt" })
	own := newTestJWT(t, p, func(c *JWTConfig) { c.Typ = "okta-internal-at+jwt" })
	for _, c := range []struct {
		what             string
		typ              string
		claims           jwt.MapClaims
		any, strict, own bool
	}{
		{"RFC 9068", "at+jwt", nil, true, true, false},
		{"RFC 9068, as a media type", "application/AT+JWT", nil, true, true, false},
		{"RFC 9068, with a nonce", "at+jwt", jwt.MapClaims{"nonce": "n"}, true, true, false},
		{"Auth0 and Entra", "JWT", nil, true, false, false},
		{"none", "", nil, true, false, false},
		{"Keycloak", "JWT", jwt.MapClaims{"typ": "Bearer"}, true, false, false},
		{"Keycloak before 24, which has the nonce in both", "JWT",
			jwt.MapClaims{"typ": "Bearer", "nonce": "n"}, true, false, false},
		{"Cognito", "", jwt.MapClaims{"token_use": "access"}, true, false, false},
		{"a type of its own", "application/okta-internal-at+jwt", nil, false, false, true},
		{"an ID token", "JWT", jwt.MapClaims{"nonce": "n"}, false, false, false},
	} {
		header := []string{}
		if c.typ != "JWT" {
			header = []string{"typ", c.typ}
		}
		for name, one := range map[string]struct {
			*testJWT
			takes bool
		}{"any": {any, c.any}, "at+jwt": {strict, c.strict}, "its own": {own, c.own}} {
			if _, err := one.Caller(t.Context(), rsaSigner.token(c.claims, header...)); (err == nil) != one.takes {
				t.Errorf("%s, where %s is wanted: %v", c.what, name, err)
			}
		}
	}
}

func TestCallerHasScopes(t *testing.T) {
	for _, c := range []struct{ has, does string }{
		{store.ReadProducts, "read"}, {store.WriteProducts, "read write"},
		{store.AdminTokens, "tokens"}, {"", ""}, {"products", ""},
	} {
		caller := Caller{Scopes: []string{c.has}}
		for scope, word := range map[string]string{store.ReadProducts: "read",
			store.WriteProducts: "write", store.AdminTokens: "tokens"} {
			if got := caller.Has(scope); got != slices.Contains(strings.Fields(c.does), word) {
				t.Errorf("%q may %s: %v", c.has, scope, got)
			}
		}
	}
}

// loose returns the token with bits after its end, which most decoders ignore.
func loose(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + string(alphabet[strings.IndexByte(alphabet, token[last])+1])
}

// unsigned returns a token put together by hand.
func unsigned(header, claims string, signature []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode([]byte(claims)) + "." + encode(signature)
}

func TestJWTRefusesInvalidTokens(t *testing.T) {
	enc := signer{"enc", jwt.SigningMethodEdDSA, edB}
	p := newProvider(t, rsaSigner, ecSigner, edSigner)
	set := *p.set.Load()
	public, _ := jwkset.NewJWKFromKey(edB.Public(),
		jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "enc", USE: jwkset.UseEnc}})
	encryption, _ := json.Marshal(public.Marshal())
	p.says(strings.Replace(set, `"keys":[`,
		`"keys":[`+string(encryption)+`,{"kty":"oct","kid":"hmac","k":"c2VjcmV0"},`, 1))
	j := newTestJWT(t, p)
	der, _ := x509.MarshalPKIXPublicKey(rsaKey.Public())
	honest := func(change jwt.MapClaims) string { return rsaSigner.token(change) }
	hmacOf := func(kid string, secret []byte) string {
		other := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ada"})
		other.Header["kid"] = kid
		text, _ := other.SignedString(secret)
		return text
	}
	cut := strings.Split(honest(nil), ".")
	eve := strings.Split(honest(jwt.MapClaims{"sub": "eve"}), ".")
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for _, c := range []struct{ what, token, why string }{
		{"nothing", "", "malformed"},
		{"no token", "sesame", "malformed"},
		{"two parts", cut[0] + "." + cut[1], "malformed"},
		{"four parts", honest(nil) + ".x", "malformed"},
		{"no base64", cut[0] + "." + cut[1] + ".!", "malformed"},
		{"bits after the end", loose(honest(nil)), "malformed"},
		{"claims that are no object", unsigned(`{"alg":"RS256","kid":"rsa"}`, `[7]`, nil), "malformed"},
		{"a header that is no object", unsigned(`7`, `{}`, nil), "malformed"},
		{"no algorithm", unsigned(`{"kid":"rsa"}`, `{}`, nil), "header"},
		{"an unknown algorithm", unsigned(`{"alg":"XX1","kid":"rsa"}`, `{}`, nil), "header"},
		{"none", unsigned(`{"alg":"none","kid":"rsa"}`, `{"sub":"ada"}`, nil), "signature"},
		{"HMAC with the public key", hmacOf("rsa", der), "signature"},
		{"HMAC with a key of the set", hmacOf("hmac", []byte("secret")), "signature"},
		{"no kid", rsaSigner.token(nil, "kid", ""), "header"},
		{"extensions", rsaSigner.token(nil, "crit", "exp"), "header"},
		{"a key for another use", enc.token(nil), "header"},
		{"a key of another algorithm", signer{"rsa", jwt.SigningMethodES256, ecKey}.token(nil), "signature"},
		{"an unknown key", signer{"new", jwt.SigningMethodEdDSA, edB}.token(nil), "unknown key"},
		{"another's key of that name", foreignKey.token(nil), "signature"},
		{"another's claims", cut[0] + "." + eve[1] + "." + cut[2], "signature"},
		{"no signature", cut[0] + "." + cut[1] + ".", "signature"},
		{"another issuer", honest(jwt.MapClaims{"iss": "https://id.example"}), "issuer"},
		{"no issuer", honest(jwt.MapClaims{"iss": nil}), "claims"},
		{"another audience", honest(jwt.MapClaims{"aud": []string{"Shelfcast", "shelfcast/"}}), "audience"},
		{"no audience", honest(jwt.MapClaims{"aud": nil}), "claims"},
		{"expired", honest(jwt.MapClaims{"exp": at(-leeway - time.Second)}), "expired"},
		{"no expiry", honest(jwt.MapClaims{"exp": nil}), "claims"},
		{"an expiry that is no number", honest(jwt.MapClaims{"exp": "never"}), "claims"},
		{"not yet", honest(jwt.MapClaims{"nbf": at(leeway + 5*time.Second)}), "too early"},
		{"made in the future", honest(jwt.MapClaims{"iat": at(leeway + 5*time.Second)}), "too early"},
		{"no sub", honest(jwt.MapClaims{"sub": nil}), "claims"},
		{"an empty sub", honest(jwt.MapClaims{"sub": ""}), "claims"},
		{"a sub that is no text", honest(jwt.MapClaims{"sub": 42}), "claims"},
		{"a long sub", honest(jwt.MapClaims{"sub": strings.Repeat("a", maxSubject+1)}), "claims"},
		{"a sub of two lines", honest(jwt.MapClaims{"sub": "ada\nbob"}), "claims"},
		{"an ID token with a nonce", honest(jwt.MapClaims{"nonce": "n-0S6"}), "type"},
		{"an ID token with the hash of an access token", honest(jwt.MapClaims{"at_hash": "77Qm"}), "type"},
		{"an ID token with the hash of a code", honest(jwt.MapClaims{"c_hash": "LDkt"}), "type"},
		{"an ID token of Keycloak's", honest(jwt.MapClaims{"typ": "ID"}), "type"},
		{"a refresh token of Keycloak's", honest(jwt.MapClaims{"typ": "Refresh"}), "type"},
		{"an ID token of Cognito's", honest(jwt.MapClaims{"token_use": "id"}), "type"},
		{"a token of two kinds", honest(jwt.MapClaims{"typ": "Bearer", "token_use": "id"}), "type"},
		{"a typ that is no text", honest(jwt.MapClaims{"typ": []string{"Bearer"}}), "type"},
		{"an event", honest(jwt.MapClaims{"events": map[string]any{"logout": map[string]any{}}}), "type"},
		{"a header of another type", rsaSigner.token(nil, "typ", "logout+jwt"), "type"},
		{"a header of an ID token's type", rsaSigner.token(nil, "typ", "id_token+jwt"), "type"},
		{"a header with nearly the right type", rsaSigner.token(nil, "typ", "at+jwt+x"), "type"},
		{"too long", honest(jwt.MapClaims{"more": strings.Repeat("a", maxToken)}), "too long"},
	} {
		before := apitest.Counted(t, j.metrics, "shelfcast_jwt_refused_total")
		j.refuses(c.token, errToken)
		_, err := j.Caller(t.Context(), c.token)
		if err == nil || err.Error() != errToken.Error()+": "+c.why {
			t.Errorf("%s: %v, want %s", c.what, err, c.why)
		}
		if n := apitest.Counted(t, j.metrics, "shelfcast_jwt_refused_total"); n != before+2 {
			t.Errorf("%s: counted %d times", c.what, n-before)
		}
	}
	j.takes(honest(nil))
	if j.logged.Len() > 0 {
		t.Errorf("logged: %s", j.logged)
	}
}

func TestNewJWTRefusesBadConfig(t *testing.T) {
	good := JWTConfig{JWKS: "http://127.0.0.1:1/keys", Issuer: "i", Audience: "a", Log: slog.New(slog.DiscardHandler)}
	for _, c := range []struct {
		what   string
		change func(*JWTConfig)
		ok     bool
	}{
		{"good", func(*JWTConfig) {}, true},
		{"localhost", func(c *JWTConfig) { c.JWKS = "http://localhost:1/keys" }, true},
		{"loopback of IPv6", func(c *JWTConfig) { c.JWKS = "http://[::1]:1/keys" }, true},
		{"in the clear", func(c *JWTConfig) { c.JWKS = "http://id.example/keys" }, false},
		{"looks like loopback", func(c *JWTConfig) { c.JWKS = "http://127.0.0.1.id.example/keys" }, false},
		{"no host", func(c *JWTConfig) { c.JWKS = "https:///keys" }, false},
		{"a file", func(c *JWTConfig) { c.JWKS = "file://localhost/etc/keys" }, false},
		{"a password", func(c *JWTConfig) { c.JWKS = "https://user:secret@127.0.0.1:1/keys" }, false},
		{"none", func(c *JWTConfig) { c.JWKS = "" }, false},
		{"no URL", func(c *JWTConfig) { c.JWKS = "https://[" }, false},
		{"no issuer", func(c *JWTConfig) { c.Issuer = "" }, false},
		{"no audience", func(c *JWTConfig) { c.Audience = "" }, false},
	} {
		cfg := good
		c.change(&cfg)
		j, err := NewJWT(t.Context(), cfg)
		if (err == nil) != c.ok || (j == nil) == c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// FuzzJWT: only the one valid token is accepted, and none that is nearly the same.
func FuzzJWT(f *testing.F) {
	j := newTestJWT(f, newProvider(f, edSigner), func(c *JWTConfig) { c.MinRefetch = time.Hour })
	good := edSigner.token(nil)
	for _, seed := range []string{good, good + "x", good[1:], strings.ToUpper(good),
		"..", rsaSigner.token(nil), unsigned(`{"alg":"none"}`, `null`, nil)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		caller, err := j.Caller(t.Context(), token)
		if (err == nil) != (token == good) || (caller.Key == "") != (err != nil) {
			t.Errorf("%q: %+v, %v", token, caller, err)
		}
		if err != nil && !errors.Is(err, errToken) {
			t.Error(err)
		}
	})
}
