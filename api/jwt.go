package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"shelfcast/store"
)

var (
	// ErrToken: the token is no token that we take.
	ErrToken = errors.New("the token is not valid")
	// ErrKeys: the identity provider's keys cannot be had, and the token's is not
	// among those known. The same call may succeed later.
	ErrKeys = errors.New("the identity provider's keys cannot be had")
)

// JWTConfig says whose tokens are taken. The first three fields are required;
// of the others the zero value means the default.
type JWTConfig struct {
	JWKS       string        // URL of the identity provider's keys: https, or http to loopback
	Issuer     string        // that its tokens name as iss
	Audience   string        // that they have among aud
	ScopeClaim string        // what a token may do, a text with spaces or a list; "scope", and "scp" of a token that has no "scope"
	NameClaim  string        // what people call whose token it is; "email", if email_verified is true. Without a fit one it is sub
	Typ        string        // that their header has as typ; "at+jwt", or "JWT" or none in a token that is not marked as another: see isAccess
	Refresh    time.Duration // between two fetches of the keys; 15min
	Ask        time.Duration // between two more because of tokens whose key is not known; 10s
	Metrics    prometheus.Registerer
	Log        *slog.Logger
}

// Limits of a token.
const (
	maxToken   = 8 << 10
	maxSubject = 255
	maxName    = 100
	leeway     = 30 * time.Second // by which clocks may differ
)

// signatures are the algorithms taken. HMAC is not among them: who can check its
// signatures can make them.
var signatures = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// A JWT takes the tokens of an identity provider. Its methods may be called
// concurrently.
type JWT struct {
	cfg     JWTConfig
	issuer  string // short, for a Caller's Key
	parser  *jwt.Parser
	keys    keyfunc.Keyfunc
	refused *prometheus.CounterVec
}

// NewJWT makes one, and fetches the provider's keys until ctx ends. They need
// not be reachable yet: it waits for a few seconds, and no call fails for it.
func NewJWT(ctx context.Context, cfg JWTConfig) (*JWT, error) {
	if cfg.Issuer == "" || cfg.Audience == "" {
		return nil, errors.New("JWT: an issuer and an audience are required")
	}
	cfg.Refresh = cmp.Or(cfg.Refresh, 15*time.Minute)
	cfg.Ask = cmp.Or(cfg.Ask, 10*time.Second)
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	keys, err := newKeys(ctx, cfg)
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
			Name: "shelfcast_jwt_refused_total", Help: "JWTs that were not taken, by reason.",
		}, []string{"reason"}),
	}
	for _, r := range reasons {
		j.refused.WithLabelValues(label(r.why))
	}
	j.refused.WithLabelValues(claimsReason)
	return j, nil
}

// label is a reason as metrics have it.
func label(why string) string { return strings.ReplaceAll(why, " ", "_") }

// Caller is whose token it is, of the key jwt:<hash of the issuer>:<sub>. Errors:
// ErrToken, ErrKeys. They have nothing of the token in them.
func (j *JWT) Caller(ctx context.Context, token string) (Caller, error) {
	caller, err := j.caller(ctx, token)
	if err == nil {
		return caller, nil
	}
	why := reason(err)
	j.refused.WithLabelValues(label(why)).Inc()
	if errors.Is(err, ErrKeys) {
		return Caller{}, ErrKeys
	}
	return Caller{}, fmt.Errorf("%w: %s", ErrToken, why)
}

// Errors of our own checks.
var (
	errLong    = errors.New("longer than a token may be")
	errHeader  = errors.New("a header that we do not take")
	errType    = errors.New("not an access token")
	errSubject = errors.New("no sub that we take")
)

// reasons has the word for each error: the first that fits.
var reasons = []struct {
	err error
	why string
}{
	{ErrKeys, "no keys"},
	{errLong, "too long"},
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

// claimsReason: a claim is missing, or is not what it should be.
const claimsReason = "claims"

// reason is why a token is not taken, of few words in all.
func reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.why
		}
	}
	return claimsReason
}

func (j *JWT) caller(ctx context.Context, token string) (Caller, error) {
	if len(token) > maxToken {
		return Caller{}, errLong
	}
	claims := jwt.MapClaims{}
	find := j.keys.KeyfuncCtx(ctx)
	parsed, err := j.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		// Without a kid all keys would be tried. crit names extensions without
		// which the token is not to be taken, and we have none.
		if kid, _ := t.Header["kid"].(string); kid == "" || t.Header["crit"] != nil {
			return nil, errHeader
		}
		return find(t)
	})
	if err != nil {
		return Caller{}, err
	}
	if !isAccess(parsed.Header["typ"], claims, j.cfg.Typ) {
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

// isAccess reports whether a token was made to call an API with. An ID token says
// to a page who has signed in, and a refresh token is for the provider: both are
// signed by the same keys, and whoever is shown one must not be able to call us with
// it.
//
// An access token has the typ at+jwt (RFC 9068), and if one is wanted by name no
// other will do. Many providers say JWT, or nothing, in all their tokens: of those
// the claims have to tell, which are typ (Keycloak) and token_use (Cognito), and if
// there is neither, those that only other tokens have (OpenID Connect Core, 2 and
// 3.3.2.11; RFC 8417, 2.2).
func isAccess(typ any, claims jwt.MapClaims, wanted string) bool {
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
	return marked || !slices.ContainsFunc([]string{"nonce", "at_hash", "c_hash", "s_hash", "events"}, func(claim string) bool {
		_, has := claims[claim]
		return has
	})
}

// mediaType is a typ as it is compared (RFC 7515, 4.1.9).
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// name is for people to read. Who may choose it may choose another's, so it
// decides nothing.
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

// scopes are those of the token that we know.
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
