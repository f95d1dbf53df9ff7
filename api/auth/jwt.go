package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"shelfcast/api/problem"
	"shelfcast/store"
)

var (
	// errToken means that a token is not accepted.
	errToken = errors.New("the token is invalid")
	// errKeys means that the identity provider's keys could not be fetched, and that the token's key is not among the
	// known ones. The same call may succeed later.
	errKeys = problem.New(http.StatusServiceUnavailable, "identity-provider-unavailable",
		"the identity provider's keys could not be fetched")
)

// JWTConfig describes the accepted tokens. The first three fields are required; the zero value of the others means the
// default.
type JWTConfig struct {
	JWKS       string        // URL of the identity provider's keys: https, or http to loopback
	Issuer     string        // that tokens name as iss
	Audience   string        // that tokens have among aud
	ScopeClaim string        // the scopes: text with spaces or a list; default "scope", or "scp" if there is none
	NameClaim  string        // the name that people read; default "email", if email_verified; without a usable one, sub
	Typ        string        // the header's typ; default "at+jwt", or "JWT" or none where isAccessToken allows it
	Refresh    time.Duration // between two fetches of the keys; 15min
	MinRefetch time.Duration // at least between two fetches because of unknown keys; 10s
	Metrics    prometheus.Registerer
	Log        *slog.Logger
}

// Limits of a token.
const (
	maxToken   = 8 << 10
	maxSubject = 255
	maxName    = 100
	leeway     = 30 * time.Second // how far clocks may differ
)

// signatures are the accepted algorithms. HMAC is not among them: the key that verifies its signatures also makes them.
var signatures = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// A JWT verifies the tokens of an identity provider. Its methods may be called concurrently.
type JWT struct {
	cfg     JWTConfig
	issuer  string // its hash, for a Caller's Key
	parser  *jwt.Parser
	keys    keyfunc.Keyfunc
	refused *prometheus.CounterVec
}

// NewJWT returns a JWT and fetches the provider's keys until ctx ends. The provider need not be reachable yet: NewJWT
// waits for it for a few seconds, and succeeds without it.
func NewJWT(ctx context.Context, cfg JWTConfig) (*JWT, error) {
	if cfg.Issuer == "" || cfg.Audience == "" {
		return nil, errors.New("JWT: an issuer and an audience are required")
	}
	cfg.Refresh = cmp.Or(cfg.Refresh, 15*time.Minute)
	cfg.MinRefetch = cmp.Or(cfg.MinRefetch, 10*time.Second)
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	keys, err := newJWKS(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("JWT: %w", err)
	}
	find, err := keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: keys, UseWhitelist: []jwkset.USE{jwkset.UseSig, ""}})
	if err != nil {
		return nil, fmt.Errorf("JWT: %w", err)
	}
	sum := sha256.Sum256([]byte(cfg.Issuer))
	j := &JWT{
		cfg: cfg, issuer: fmt.Sprintf("%x", sum[:8]), keys: find,
		parser: jwt.NewParser(jwt.WithValidMethods(signatures), jwt.WithStrictDecoding(), jwt.WithLeeway(leeway),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience)),
		refused: promauto.With(cfg.Metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_jwt_refused_total", Help: "JWTs refused, by reason.",
		}, []string{"reason"}),
	}
	for _, r := range reasons {
		j.refused.WithLabelValues(metricLabel(r.why))
	}
	j.refused.WithLabelValues(claimsReason)
	return j, nil
}

// metricLabel returns a reason as a label of metrics.
func metricLabel(why string) string { return strings.ReplaceAll(why, " ", "_") }

// Caller returns the caller that the token names. Its Key is jwt:<hash of the issuer>:<sub>. Errors: errToken, errKeys.
// They do not contain any part of the token.
func (j *JWT) Caller(ctx context.Context, token string) (Caller, error) {
	caller, err := j.caller(ctx, token)
	if err == nil {
		return caller, nil
	}
	why := reasonOf(err)
	j.refused.WithLabelValues(metricLabel(why)).Inc()
	if errors.Is(err, errKeys) {
		return Caller{}, errKeys
	}
	return Caller{}, fmt.Errorf("%w: %s", errToken, why)
}

// Errors of the checks in this file.
var (
	errTooLong = errors.New("too long")
	errHeader  = errors.New("an unsupported header")
	errType    = errors.New("not an access token")
	errSubject = errors.New("no usable sub")
)

// reasons names each error. The first that matches counts.
var reasons = []struct {
	err error
	why string
}{
	{errKeys, "no keys"},
	{errTooLong, "too long"},
	{jwt.ErrTokenMalformed, "malformed"},
	{jwkset.ErrKeyNotFound, "unknown key"},
	{jwt.ErrTokenUnverifiable, "header"},
	{jwt.ErrTokenSignatureInvalid, "signature"},
	{jwt.ErrTokenInvalidIssuer, "issuer"},
	{jwt.ErrTokenInvalidAudience, "audience"},
	{jwt.ErrTokenExpired, "expired"},
	{jwt.ErrTokenNotValidYet, "too early"},
	{jwt.ErrTokenUsedBeforeIssued, "too early"},
	{errType, "type"},
}

// claimsReason means that a claim is missing or has the wrong form.
const claimsReason = "claims"

// reasonOf returns the reason for which a token is rejected, as one of a few fixed texts.
func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.why
		}
	}
	return claimsReason
}

func (j *JWT) caller(ctx context.Context, token string) (Caller, error) {
	if len(token) > maxToken {
		return Caller{}, errTooLong
	}
	claims := jwt.MapClaims{}
	find := j.keys.KeyfuncCtx(ctx)
	parsed, err := j.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		// Without a kid all keys would be tried. crit names extensions that a verifier must understand, and none is
		// implemented.
		if kid, _ := t.Header["kid"].(string); kid == "" || t.Header["crit"] != nil {
			return nil, errHeader
		}
		return find(t)
	})
	if err != nil {
		return Caller{}, err
	}
	if !isAccessToken(parsed.Header["typ"], claims, j.cfg.Typ) {
		return Caller{}, errType
	}
	subject, err := claims.GetSubject()
	if err != nil || subject == "" || len(subject) > maxSubject || !store.Printable(subject) {
		return Caller{}, errSubject
	}
	return Caller{
		Name:   j.name(claims, subject),
		Key:    "jwt:" + j.issuer + ":" + subject,
		Scopes: j.scopes(claims),
	}, nil
}

// isAccessToken reports whether a token was issued to call an API with. An ID token tells a page who has signed in, and
// a refresh token is for the provider. Both are signed with the same keys, and a service
// that receives one must not be able to call the API with it.
//
// An access token has the typ at+jwt (RFC 9068); if one is configured, no other will do. Many providers write JWT, or
// nothing, in all their tokens. Then the claims have to tell: typ (Keycloak) and token_use (Cognito), and if there is
// neither, the claims that only other tokens have (OpenID Connect Core, 2 and 3.3.2.11; RFC 8417, 2.2).
func isAccessToken(typ any, claims jwt.MapClaims, wanted string) bool {
	kind, text := typ.(string)
	if kind = mediaType(kind); typ != nil && !text || wanted != "" && kind != mediaType(wanted) {
		return false
	}
	if kind == "at+jwt" || wanted != "" && kind != "jwt" {
		return true
	}
	if kind != "" && kind != "jwt" {
		return false
	}
	marked := false
	for claim, access := range map[string]string{"typ": "Bearer", "token_use": "access"} {
		if value, has := claims[claim]; has {
			if marked = true; value != access {
				return false
			}
		}
	}
	ofOtherKinds := []string{"nonce", "at_hash", "c_hash", "s_hash", "events"}
	return marked || !slices.ContainsFunc(ofOtherKinds, func(claim string) bool {
		_, has := claims[claim]
		return has
	})
}

// mediaType returns a typ in the form in which it is compared (RFC 7515, 4.1.9).
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// name returns the display name. Users may choose it, also that of another user, so nothing depends on it.
func (j *JWT) name(claims jwt.MapClaims, subject string) string {
	claim := cmp.Or(j.cfg.NameClaim, "email")
	name, _ := claims[claim].(string)
	if claim == "email" && claims["email_verified"] != true && claims["email_verified"] != "true" {
		return subject
	}
	if name == "" || utf8.RuneCountInString(name) > maxName || !store.Printable(name) {
		return subject
	}
	return name
}

// scopes returns the scopes of the token that exist here.
func (j *JWT) scopes(claims jwt.MapClaims) []string {
	claim := cmp.Or(j.cfg.ScopeClaim, "scope")
	if _, has := claims[claim]; !has && j.cfg.ScopeClaim == "" {
		claim = "scp"
	}
	var given []string
	switch v := claims[claim].(type) {
	case string:
		given = strings.Fields(v)
	case []any:
		for _, one := range v {
			scope, _ := one.(string)
			given = append(given, scope)
		}
	}
	return slices.DeleteFunc(slices.Clone(store.Scopes), func(s string) bool { return !slices.Contains(given, s) })
}
