package api

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

	"shelfcast/store/storetest"
)

func TestKeysThatAreNewAreFound(t *testing.T) {
	p := newProvider(t, rsaSigner)
	j := trusts(t, p, func(c *JWTConfig) { c.Ask = 0 }) // the default: once in 10s
	j.takes(rsaSigner.token(nil))
	j.refuses("sesame", ErrToken)
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
	storetest.Eventually(t, "the keys are asked for", func() bool { return p.fetches.Load() == 2 })
	p.hangs.Store(nil)
	close(gate)
	callers.Wait()
	j.takes(rsaSigner.token(nil))
	if n := p.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestKeysThatAreGoneEnd(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner)
	j := trusts(t, p, func(c *JWTConfig) { c.Refresh, c.Ask = 20*time.Millisecond, time.Hour })
	old := ecSigner.token(nil)
	j.takes(old)
	p.has(rsaSigner, edSigner)
	storetest.Eventually(t, "the old key is refused", func() bool {
		_, err := j.Caller(t.Context(), old)
		return errors.Is(err, ErrToken)
	})
	j.takes(rsaSigner.token(nil))
	j.takes(edSigner.token(nil))
}

// Whatever is in the tokens, the provider is not asked more often than it is to
// be, and nobody waits.
func TestAFloodOfUnknownKeys(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner)
	j := trusts(t, p, func(c *JWTConfig) { c.Ask = time.Hour })
	start := time.Now()
	var flood sync.WaitGroup
	for i := range 8 {
		flood.Go(func() {
			for n := range 100 {
				j.refuses(signer{fmt.Sprint(i, n), jwt.SigningMethodEdDSA, edB}.token(nil), ErrToken)
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

// A provider that gives no keys, or none that are any good: those known stay,
// and whose key is not known is told to come again.
func TestAProviderThatFails(t *testing.T) {
	good := *newProvider(t, edSigner).set.Load()
	for what, fail := range map[string]func(*idProvider){
		"an error":       func(p *idProvider) { p.status.Store(http.StatusInternalServerError) },
		"sent elsewhere": func(p *idProvider) { p.status.Store(http.StatusFound); p.has(edSigner) },
		"no JSON":        func(p *idProvider) { p.says("<html>") },
		"no keys":        func(p *idProvider) { p.says(`{"keys":[]}`) },
		"no set":         func(p *idProvider) { p.says(`{"error":"maintenance"}`) },
		"no usable key":  func(p *idProvider) { p.says(`{"keys":[{"kty":"OKP","crv":"Ed448","x":"AA","kid":"ed"}]}`) },
		"far too much":   func(p *idProvider) { p.says(`{"more":"` + strings.Repeat("a", maxKeys) + `",` + good[1:]) },
	} {
		t.Run(what, func(t *testing.T) {
			p := newProvider(t, rsaSigner, ecSigner)
			j := trusts(t, p)
			fail(p)
			for range 2 {
				j.refuses(edSigner.token(nil), ErrKeys)
				j.takes(rsaSigner.token(nil))
				j.takes(ecSigner.token(nil))
			}
			if n := j.failed(); n != 2 {
				t.Errorf("%d failed fetches were counted", n)
			}
			if n := count(t, j.metrics, "shelfcast_jwt_refused_total"); n != 2 {
				t.Errorf("%d refused tokens were counted", n)
			}
			if !strings.Contains(j.logged.String(), "could not be fetched") {
				t.Errorf("logged: %s", j.logged)
			}
			p.has(rsaSigner, edSigner)
			p.status.Store(http.StatusOK)
			j.takes(edSigner.token(nil))
			j.refuses(ecSigner.token(nil), ErrToken)
		})
	}
}

// Between two fetches it counts how the last one went.
func TestAFailedFetchIsNotForgotten(t *testing.T) {
	p := newProvider(t, rsaSigner)
	j := trusts(t, p, func(c *JWTConfig) { c.Ask = time.Hour })
	p.status.Store(http.StatusBadGateway)
	for range 2 {
		j.refuses(edSigner.token(nil), ErrKeys)
	}
	if n := p.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

// A provider that hangs costs a caller no more than the caller allows.
func TestAProviderThatHangs(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner)
	j := trusts(t, p)
	gate := make(chan struct{})
	p.hangs.Store(&gate)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := j.Caller(ctx, edSigner.token(nil)); !errors.Is(err, ErrKeys) {
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

func TestAProviderThatIsLate(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner)
	address := p.Listener.Addr().String()
	p.Close()
	j := trusts(t, p)
	for range 2 {
		j.refuses(rsaSigner.token(nil), ErrKeys)
	}
	j.refuses("sesame", ErrToken)
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

// What was started ends with the context.
func TestKeysEndWithTheirContext(t *testing.T) {
	p := newProvider(t, rsaSigner, ecSigner)
	before := goleak.IgnoreCurrent()
	ctx, stop := context.WithCancel(t.Context())
	for range 2 {
		if _, err := NewJWT(ctx, JWTConfig{JWKS: p.URL, Issuer: "i", Audience: "a", Refresh: time.Millisecond}); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Eventually(t, "both fetch", func() bool { return p.fetches.Load() > 6 })
	if goleak.Find(before) == nil {
		t.Error("nothing runs, so there is nothing to end")
	}
	stop()
	goleak.VerifyNone(t, before)
}
