package httpx

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
)

// A Check is one dependency of an instance, required or optional.
type Check struct {
	Name     string
	Optional bool                        // if it fails, the instance is degraded but ready
	Once     *atomic.Bool                // not nil: required until it has succeeded once, and optional from then on
	Fatal    bool                        // if it fails, the process cannot go on and must be restarted
	Check    func(context.Context) error // nil: healthy
}

// Health is the checks behind /livez and /readyz.
type Health []Check

// checkTimeout is the limit of each check, below the second or two that a probe waits.
const checkTimeout = 800 * time.Millisecond

// Mount adds the routes to app. With reasons, the responses contain the errors of failed checks: only for the admin
// app, since they name internal services.
func (h Health) Mount(app fiber.Router, why bool) {
	var fatal Health // the other checks are no reason to restart
	for _, check := range h {
		if check.Fatal {
			fatal = append(fatal, check)
		}
	}
	app.Get("/livez", func(c *fiber.Ctx) error { return fatal.report(c, why) })
	app.Get("/readyz", func(c *fiber.Ctx) error { return h.report(c, why) })
}

// report answers with the result of each check by name.
func (h Health) report(c *fiber.Ctx, why bool) error {
	status, code := "ok", fiber.StatusOK
	checks := make(map[string]string, len(h))
	for _, check := range h {
		ctx, cancel := context.WithTimeout(c.UserContext(), checkTimeout)
		err := check.Check(ctx)
		cancel()
		checks[check.Name] = "ok"
		if err == nil {
			if check.Once != nil {
				check.Once.Store(true)
			}
			continue
		}
		checks[check.Name] = "failed"
		if why {
			checks[check.Name] = err.Error()
		}
		switch {
		case !check.Optional && (check.Once == nil || !check.Once.Load()):
			status, code = "unavailable", fiber.StatusServiceUnavailable
		case code == fiber.StatusOK:
			status = "degraded"
		}
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Status(code).JSON(fiber.Map{"status": status, "checks": checks})
}
