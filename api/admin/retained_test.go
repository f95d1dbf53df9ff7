//go:build !race

// The test reads by reflection what goroutines of the caches write, without synchronisation: the race detector is
// right about it. make test runs it without.

package admin

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/api/apitest"
)

func TestNothingOfAnAdminRequestIsRetained(t *testing.T) {
	b := newOfflineAdmin(t)
	apitest.NothingOfARequestIsRetained(t, b.app, func() map[string]any {
		families, err := b.Registerer.(prometheus.Gatherer).Gather()
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{"admin": b.App, "metrics": families}
	}, "/fragments?ids=42:17:WORD")
}
