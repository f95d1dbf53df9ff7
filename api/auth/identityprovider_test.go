package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/api/apitest"
	"shelfcast/store"
)

// A signer signs tokens with one key.
type signer struct {
	kid    string
	method jwt.SigningMethod
	key    crypto.Signer
}

// Keys of providers, and a foreign one with the ID of one of them.
var (
	rsaKey, _  = rsa.GenerateKey(rand.Reader, 2048)
	ecKey, _   = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edA, _  = ed25519.GenerateKey(rand.Reader)
	_, edB, _  = ed25519.GenerateKey(rand.Reader)
	rsaSigner  = signer{"rsa", jwt.SigningMethodRS256, rsaKey}
	ecSigner   = signer{"ec", jwt.SigningMethodES256, ecKey}
	edSigner   = signer{"ed", jwt.SigningMethodEdDSA, edA}
	foreignKey = signer{"ed", jwt.SigningMethodEdDSA, edB}
)

// token signs the claims of a valid token with changes; nil removes a claim.
func (s signer) token(changes jwt.MapClaims, header ...string) string {
	claims := jwt.MapClaims{
		"iss": "https://id.example/", "aud": "shelfcast", "sub": "ada",
		"email": "ada@example.com", "email_verified": true, "scope": store.WriteProducts,
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "nbf": time.Now().Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	t := jwt.NewWithClaims(s.method, claims)
	t.Header["kid"] = s.kid
	for i := 0; i < len(header); i += 2 {
		t.Header[header[i]] = header[i+1]
	}
	text, err := t.SignedString(s.key)
	if err != nil {
		panic(err)
	}
	return text
}

// An idProvider serves keys, and counts the fetches.
type idProvider struct {
	*httptest.Server
	set     atomic.Pointer[string]
	status  atomic.Int64 // 200 unless set
	fetches atomic.Int64
	hangs   atomic.Pointer[chan struct{}]
}

func (p *idProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.fetches.Add(1)
	if hangs := p.hangs.Load(); hangs != nil {
		select {
		case <-*hangs:
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("Location", "/moved") // of a status that wants one
	if r.URL.Path != "/moved" {
		w.WriteHeader(int(p.status.Load()))
	}
	fmt.Fprint(w, *p.set.Load())
}

// has makes these the provider's keys.
func (p *idProvider) has(signers ...signer) {
	set := jwkset.NewMemoryStorage()
	for _, s := range signers {
		key, err := jwkset.NewJWKFromKey(s.key.Public(),
			jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: s.kid, USE: jwkset.UseSig}})
		if err != nil {
			panic(err)
		}
		if err := set.KeyWrite(context.Background(), key); err != nil {
			panic(err)
		}
	}
	text, err := set.JSONPublic(context.Background())
	if err != nil {
		panic(err)
	}
	p.says(string(text))
}

func (p *idProvider) says(text string) { p.set.Store(&text) }

func newProvider(t testing.TB, signers ...signer) *idProvider {
	p := &idProvider{}
	p.has(signers...)
	p.status.Store(http.StatusOK)
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// A testJWT is the JWT of an instance.
type testJWT struct {
	*JWT
	t       testing.TB
	metrics *prometheus.Registry
	logged  *strings.Builder // not while a fetch may be under way
}

// newTestJWT returns a JWT of that provider, with the changes.
func newTestJWT(t testing.TB, p *idProvider, changes ...func(*JWTConfig)) *testJWT {
	t.Helper()
	j := &testJWT{t: t, metrics: prometheus.NewRegistry(), logged: &strings.Builder{}}
	cfg := JWTConfig{
		JWKS: p.URL, Issuer: "https://id.example/", Audience: "shelfcast", Metrics: j.metrics,
		Log: slog.New(slog.NewTextHandler(j.logged, nil)), Refresh: time.Hour, MinRefetch: time.Nanosecond,
	}
	for _, change := range changes {
		change(&cfg)
	}
	var err error
	if j.JWT, err = NewJWT(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return j
}

// takes returns the caller of a token, which has to be accepted.
func (j *testJWT) takes(token string) Caller {
	j.t.Helper()
	caller, err := j.Caller(j.t.Context(), token)
	if err != nil {
		j.t.Errorf("refused: %v", err)
	}
	return caller
}

// refuses fails if the token is accepted, or refused with another error.
func (j *testJWT) refuses(token string, want error) {
	j.t.Helper()
	caller, err := j.Caller(j.t.Context(), token)
	if !errors.Is(err, want) || caller.Name != "" || caller.Key != "" || len(caller.Scopes) > 0 {
		j.t.Errorf("%+v, %v, want %v", caller, err, want)
	}
}

func (j *testJWT) failed() int {
	return apitest.Counted(j.t, j.metrics, "shelfcast_jwt_key_fetch_failures_total")
}
