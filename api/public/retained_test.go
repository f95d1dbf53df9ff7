//go:build !race

// The test reads by reflection what goroutines of the caches write, without synchronisation: the race detector is
// right about it. make test runs it without.

package public

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/api/apitest"
)

func TestNothingOfAPublicRequestIsRetained(t *testing.T) {
	b := newOfflinePublic(t)
	apitest.NothingOfARequestIsRetained(t, b.app, func() map[string]any {
		families, err := b.Metrics.(prometheus.Gatherer).Gather()
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{"public": b.App, "metrics": families}
	})
}
