package api

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
	maxKeys      = 1 << 20 // bytes
)

// keys are an identity provider's. A goroutine of jwkset's fetches them again
// and again until a context ends. A key that is not known has them fetched too:
// once for all who ask meanwhile, and not more often than asked allows, whatever
// people put into tokens. jwkset's own limit will not do: who waits for it may
// leave no time for the fetch itself.
type keys struct {
	jwkset.Storage // fetches into known
	known          *known
	ask            *rate.Limiter
	flights        singleflight.Group
}

// known are the keys of the last fetch that went well.
type known struct {
	*jwkset.MemoryJWKSet
	fresh atomic.Bool // none has failed since
}

var errNoKeys = errors.New("there is no key among them that we can use")

// KeyReplaceAll is how jwkset hands over what it has fetched. An answer without
// keys is somebody's mistake: it would shut out everybody.
func (k *known) KeyReplaceAll(ctx context.Context, all []jwkset.JWK) error {
	if len(all) == 0 {
		return errNoKeys
	}
	err := k.MemoryJWKSet.KeyReplaceAll(ctx, all)
	k.fresh.Store(err == nil)
	return err
}

func newKeys(ctx context.Context, cfg JWTConfig) (*keys, error) {
	if err := checkURL(cfg.JWKS); err != nil {
		return nil, err
	}
	failed := promauto.With(cfg.Metrics).NewCounter(prometheus.CounterOpts{
		Name: "shelfcast_jwt_key_refreshes_failed_total", Help: "Fetches of the identity provider's keys that failed; those known stay.",
	})
	known := &known{MemoryJWKSet: jwkset.NewMemoryStorage()}
	remote, err := jwkset.NewStorageFromHTTP(cfg.JWKS, jwkset.HTTPClientStorageOptions{
		Client: provider, Ctx: ctx, HTTPTimeout: fetchTimeout, Storage: known,
		RefreshInterval: cfg.Refresh, NoErrorReturnFirstHTTPReq: true,
		RefreshErrorHandler: func(_ context.Context, err error) {
			if ctx.Err() != nil {
				return // we are being stopped
			}
			known.fresh.Store(false)
			failed.Inc()
			cfg.Log.Warn("the identity provider's keys could not be fetched", "error", err)
		},
	})
	if err != nil {
		return nil, err
	}
	client, err := jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
		HTTPURLs:          map[string]jwkset.Storage{cfg.JWKS: remote},
		RefreshUnknownKID: rate.NewLimiter(rate.Inf, 1), // ours is asked before
		RateLimitWaitMax:  fetchTimeout,                 // and that is of the fetch too
	})
	return &keys{Storage: client, known: known, ask: rate.NewLimiter(rate.Every(cfg.Ask), 1)}, err
}

// KeyRead is a key of the provider. Errors: jwkset.ErrKeyNotFound if it has none
// of that name, ErrKeys if that cannot be said.
func (k *keys) KeyRead(ctx context.Context, kid string) (jwkset.JWK, error) {
	if key, err := k.known.KeyRead(ctx, kid); err == nil {
		return key, nil
	}
	fetched := k.flights.DoChan("", func() (any, error) {
		if !k.ask.Allow() {
			return nil, nil
		}
		// Not the first caller's context: others wait for it too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		_, _ = k.Storage.KeyRead(ctx, kid) // what failed has been counted, and known has the rest
		return nil, nil
	})
	select {
	case <-fetched:
	case <-ctx.Done():
		return jwkset.JWK{}, fmt.Errorf("%w: %w", ErrKeys, ctx.Err())
	}
	key, err := k.known.KeyRead(ctx, kid)
	if err != nil && !k.known.fresh.Load() {
		err = ErrKeys
	}
	return key, err
}

// checkURL: keys that came over a network in the clear may be anybody's.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("the URL of the keys is not one")
	}
	address, _ := netip.ParseAddr(u.Hostname())
	switch {
	case u.User != nil:
		return errors.New("the URL of the keys has a user in it, and is logged")
	case u.Scheme == "https", u.Scheme == "http" && (u.Hostname() == "localhost" || address.IsLoopback()):
		return nil
	}
	return errors.New("the URL of the keys has to be https, or http to loopback")
}

// provider asks an identity provider. It goes nowhere else, since it might be
// sent from https to http, and keeps no connection for a quarter of an hour.
var provider = &http.Client{
	Transport: bounded{&http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

// bounded reads no more than maxKeys of an answer: jwkset would read all.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxKeys)
	}
	return answer, err
}
