package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// Limits of a fetch of an identity provider's keys.
const (
	fetchTimeout = 5 * time.Second
	maxJWKSBytes = 1 << 20 // bytes
)

// A jwks has an identity provider's keys. A goroutine of the library fetches them regularly until a context ends. An
// unknown key ID causes a fetch too: shared by concurrent calls, and no more often than refetches allows, whatever
// tokens contain. The library's own limit is unsuitable: after waiting for it, a call may have no time left for the
// fetch.
type jwks struct {
	jwkset.Storage // fetches into set
	set            *keySet
	refetches      *rate.Limiter
	flights        singleflight.Group
}

// A keySet has the keys of the last successful fetch.
type keySet struct {
	*jwkset.MemoryJWKSet
	upToDate atomic.Bool // no fetch has failed since
}

var errNoUsableKey = errors.New("none of the keys can be used")

// KeyReplaceAll is called by the library with the keys that it has fetched. An empty answer is an error of the
// provider: accepting it would reject all tokens.
func (k *keySet) KeyReplaceAll(ctx context.Context, all []jwkset.JWK) error {
	if len(all) == 0 {
		return errNoUsableKey
	}
	err := k.MemoryJWKSet.KeyReplaceAll(ctx, all)
	k.upToDate.Store(err == nil)
	return err
}

func newJWKS(ctx context.Context, cfg JWTConfig) (*jwks, error) {
	if err := checkJWKSURL(cfg.JWKS); err != nil {
		return nil, err
	}
	failed := promauto.With(cfg.Metrics).NewCounter(prometheus.CounterOpts{
		Name: "shelfcast_jwt_key_fetch_failures_total",
		Help: "Failed fetches of the identity provider's keys. The known keys stay in use.",
	})
	known := &keySet{MemoryJWKSet: jwkset.NewMemoryStorage()}
	remote, err := jwkset.NewStorageFromHTTP(cfg.JWKS, jwkset.HTTPClientStorageOptions{
		Client: jwksClient, Ctx: ctx, HTTPTimeout: fetchTimeout, Storage: known,
		RefreshInterval: cfg.Refresh, NoErrorReturnFirstHTTPReq: true,
		RefreshErrorHandler: func(_ context.Context, err error) {
			if ctx.Err() != nil {
				return // the instance is stopping
			}
			known.upToDate.Store(false)
			failed.Inc()
			cfg.Log.Warn("fetching the identity provider's keys failed", "error", err)
		},
	})
	if err != nil {
		return nil, err
	}
	client, err := jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
		HTTPURLs:          map[string]jwkset.Storage{cfg.JWKS: remote},
		RefreshUnknownKID: rate.NewLimiter(rate.Inf, 1), // refetches limits it instead
		RateLimitWaitMax:  fetchTimeout,                 // and that is of the fetch too
	})
	return &jwks{Storage: client, set: known, refetches: rate.NewLimiter(rate.Every(cfg.MinRefetch), 1)}, err
}

// KeyRead returns a key of the provider. Errors: jwkset.ErrKeyNotFound if the provider has none with that ID, errKeys
// if that is not known.
func (k *jwks) KeyRead(ctx context.Context, kid string) (jwkset.JWK, error) {
	if key, err := k.set.KeyRead(ctx, kid); err == nil {
		return key, nil
	}
	fetched := k.flights.DoChan("", func() (any, error) {
		if !k.refetches.Allow() {
			return nil, nil
		}
		// Not the first caller's context: others wait for the fetch too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		_, _ = k.Storage.KeyRead(ctx, kid) // a failure has been counted, and set has the rest
		return nil, nil
	})
	select {
	case <-fetched:
	case <-ctx.Done():
		return jwkset.JWK{}, fmt.Errorf("%w: %w", errKeys, ctx.Err())
	}
	key, err := k.set.KeyRead(ctx, kid)
	if err != nil && !k.set.upToDate.Load() {
		err = errKeys
	}
	return key, err
}

// checkJWKSURL returns an error unless the keys come over https or from this machine: otherwise they may be forged.
func checkJWKSURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("the URL of the keys is invalid")
	}
	address, _ := netip.ParseAddr(u.Hostname())
	switch {
	case u.User != nil:
		return errors.New("the URL of the keys contains a user, and would be logged")
	case u.Scheme == "https", u.Scheme == "http" && (u.Hostname() == "localhost" || address.IsLoopback()):
		return nil
	}
	return errors.New("the URL of the keys must be https, or http to loopback")
}

// jwksClient asks an identity provider. It follows no redirects, which might lead from https to http, and keeps no
// connection for the quarter of an hour between fetches.
var jwksClient = &http.Client{
	Transport: boundedTransport{&http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

// A boundedTransport reads no more than maxJWKSBytes of an answer. The library would read all of it.
type boundedTransport struct{ http.RoundTripper }

func (b boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxJWKSBytes)
	}
	return answer, err
}
