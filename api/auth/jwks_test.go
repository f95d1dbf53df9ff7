package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"shelfcast/api/apitest"
	"shelfcast/testkit"
)

func TestJWKSFetchesNewKeysOnce(t *testing.T) {
	p := newProvider(t, rsaSigner)
	j := newTestJWT(t, p, func(c *JWTConfig) { c.MinRefetch = 0 }) // the default: once in 10s
	j.takes(rsaSigner.token(nil))
	j.refuses("sesame", errToken)
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	p.has(rsaSigner, ecSigner, edSigner)
	// All come with the new keys at once, and one fetch is for all of them.
	gate := make(chan struct{})
	p.hangs.Store(&gate)
	var callers sync.WaitGroup
	for range 20 {
		for _, s := range []signer{ecSigner, edSigner} {
			callers.Go(func() { j.takes(s.token(nil)) })
		}
	}
	testkit.Eventually(t, "the keys are asked for", func() bool { return p.fetches.Load() == 2 })
	p.hangs.Store(nil)
	close(gate)
	callers.Wait()
	j.takes(rsaSigner.token(nil))
	if n := p.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestJWKSDropsRemovedKeys(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner)
	j := newTestJWT(t, p, func(c *JWTConfig) { c.Refresh, c.MinRefetch = 20*time.Millisecond, time.Hour })
	old := ecSigner.token(nil)
	j.takes(old)
	p.has(rsaSigner, edSigner)
	testkit.Eventually(t, "the old key is refused", func() bool {
		_, err := j.Caller(t.Context(), old)
		return errors.Is(err, errToken)
	})
	j.takes(rsaSigner.token(nil))
	j.takes(edSigner.token(nil))
}

// Whatever tokens contain, the provider is not asked too often, and nobody waits.
func TestJWKSUnknownKeysCauseFewFetches(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner)
	j := newTestJWT(t, p, func(c *JWTConfig) { c.MinRefetch = time.Hour })
	start := time.Now()
	var flood sync.WaitGroup
	for i := range 8 {
		flood.Go(func() {
			for n := range 100 {
				j.refuses(signer{fmt.Sprint(i, n), jwt.SigningMethodEdDSA, edB}.token(nil), errToken)
			}
		})
	}
	flood.Wait()
	if n := p.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	if took := time.Since(start); took > fetchTimeout {
		t.Errorf("took %v", took)
	}
	j.takes(rsaSigner.token(nil))
	j.takes(ecSigner.token(nil))
}

// If a provider returns no usable keys, the known ones stay in use, and a token with an unknown key gets a 503.
func TestJWKSKeepsKeysWhenProviderFails(t *testing.T) {
	good := *newProvider(t, edSigner).set.Load()
	for what, fail := range map[string]func(*idProvider){
		"an error":       func(p *idProvider) { p.status.Store(http.StatusInternalServerError) },
		"sent elsewhere": func(p *idProvider) { p.status.Store(http.StatusFound); p.has(edSigner) },
		"no JSON":        func(p *idProvider) { p.says("<html>") },
		"no keys":        func(p *idProvider) { p.says(`{"keys":[]}`) },
		"no set":         func(p *idProvider) { p.says(`{"error":"maintenance"}`) },
		"no usable key":  func(p *idProvider) { p.says(`{"keys":[{"kty":"OKP","crv":"Ed448","x":"AA","kid":"ed"}]}`) },
		"far too much":   func(p *idProvider) { p.says(`{"more":"` + strings.Repeat("a", maxJWKSBytes) + `",` + good[1:]) },
	} {
		t.Run(what, func(t *testing.T) {
			p := newProvider(t, rsaSigner, ecSigner)
			j := newTestJWT(t, p)
			fail(p)
			for range 2 {
				j.refuses(edSigner.token(nil), errKeys)
				j.takes(rsaSigner.token(nil))
				j.takes(ecSigner.token(nil))
			}
			if n := j.failed(); n != 2 {
				t.Errorf("%d failed fetches were counted", n)
			}
			if n := apitest.Counted(t, j.metrics, "shelfcast_jwt_refused_total"); n != 2 {
				t.Errorf("%d refused tokens were counted", n)
			}
			if !strings.Contains(j.logged.String(), "identity provider's keys failed") {
				t.Errorf("logged: %s", j.logged)
			}
			p.has(rsaSigner, edSigner)
			p.status.Store(http.StatusOK)
			j.takes(edSigner.token(nil))
			j.refuses(ecSigner.token(nil), errToken)
		})
	}
}

// Between two fetches the result of the last one counts.
func TestJWKSRemembersFailedFetch(t *testing.T) {
	p := newProvider(t, rsaSigner)
	j := newTestJWT(t, p, func(c *JWTConfig) { c.MinRefetch = time.Hour })
	p.status.Store(http.StatusBadGateway)
	for range 2 {
		j.refuses(edSigner.token(nil), errKeys)
	}
	if n := p.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

// A provider that hangs delays a call no longer than the caller allows.
func TestJWKSHangingProviderDelaysNobody(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner)
	j := newTestJWT(t, p)
	gate := make(chan struct{})
	p.hangs.Store(&gate)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := j.Caller(ctx, edSigner.token(nil)); !errors.Is(err, errKeys) {
		t.Error(err)
	}
	j.takes(rsaSigner.token(nil))
	j.takes(ecSigner.token(nil))
	p.has(edSigner)
	p.hangs.Store(nil)
	close(gate)
	j.takes(edSigner.token(nil)) // of the fetch that the other one left
	if n := p.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestJWKSProviderMayStartLater(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner)
	address := p.Listener.Addr().String()
	p.Close()
	j := newTestJWT(t, p)
	for range 2 {
		j.refuses(rsaSigner.token(nil), errKeys)
	}
	j.refuses("sesame", errToken)
	if n := j.failed(); n != 3 {
		t.Errorf("%d failed fetches were counted", n)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p.Server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: p}}
	p.Start()
	t.Cleanup(p.Close)
	j.takes(rsaSigner.token(nil))
	j.takes(ecSigner.token(nil))
}

// Background fetches end with the context.
func TestJWKSFetchesEndWithContext(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner)
	before := goleak.IgnoreCurrent()
	ctx, stop := context.WithCancel(t.Context())
	for range 2 {
		if _, err := NewJWT(ctx, JWTConfig{JWKS: p.URL, Issuer: "i", Audience: "a", Refresh: time.Millisecond}); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "both fetch", func() bool { return p.fetches.Load() > 6 })
	if goleak.Find(before) == nil {
		t.Error("nothing runs, so there is nothing to end")
	}
	stop()
	goleak.VerifyNone(t, before)
}
