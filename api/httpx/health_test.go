package httpx

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gofiber/fiber/v2"
)

// The probes name what fails, and only what a restart would fix fails /livez.
func TestHealthChecksDecideReadiness(t *testing.T) {
	var bad string // the check that fails
	check := func(name string, optional, fatal bool) Check {
		return Check{Name: name, Optional: optional, Fatal: fatal, Check: func(context.Context) error {
			if name == bad {
				return errors.New("host db-7 says no")
			}
			return nil
		}}
	}
	for _, why := range []bool{false, true} {
		started := check("mysql", false, false)
		started.Once = new(atomic.Bool)
		health := Health{check("hub", false, true), started, check("feed", false, false), check("bus", true, false)}
		app := fiber.New()
		health.Mount(app, why)
		for _, c := range []struct {
			bad         string
			live, ready int
			status      string
		}{
			{"mysql", 200, 503, "unavailable"}, // it was never there
			{"", 200, 200, "ok"},
			{"bus", 200, 200, "degraded"},
			{"mysql", 200, 200, "degraded"},
			{"feed", 200, 503, "unavailable"},
			{"hub", 503, 503, "unavailable"},
		} {
			bad = c.bad
			for path, code := range map[string]int{"/livez": c.live, "/readyz": c.ready} {
				response, err := app.Test(httptest.NewRequest("GET", path, nil))
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(response.Body)
				said := string(body)
				if response.StatusCode != code || response.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s without %s: %d %s", path, c.bad, response.StatusCode, said)
				}
				if path == "/livez" {
					continue
				}
				if !strings.Contains(said, `"status":"`+c.status+`"`) {
					t.Errorf("without %s: %s", c.bad, said)
				}
				if strings.Contains(said, "db-7") != (why && c.bad != "") {
					t.Errorf("why %v, without %s: %s", why, c.bad, said)
				}
				if c.bad != "" && strings.Contains(said, `"`+c.bad+`":"ok"`) {
					t.Errorf("%s is said to be well: %s", c.bad, said)
				}
			}
		}
	}
}
