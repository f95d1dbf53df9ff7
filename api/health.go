package api

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
)

// A Check is one thing that an instance needs, or would like to have, to serve.
type Check struct {
	Name     string
	Optional bool                        // without it the instance is degraded, and ready all the same
	Once     *atomic.Bool                // not nil: it is needed until it was well once, and optional from then on
	Fatal    bool                        // without it the process cannot go on, and is to be started anew
	Check    func(context.Context) error // nil: fine
}

// Health answers the probes of a load balancer.
type Health []Check

// checkTimeout bounds each check, below the second or two that a probe waits.
const checkTimeout = 800 * time.Millisecond

// mount adds the routes. Why a check fails is said to those alone who may know
// what there is behind the instance.
func (h Health) mount(app fiber.Router, why bool) {
	var fatal Health // what else it needs is no reason to restart it
	for _, check := range h {
		if check.Fatal {
			fatal = append(fatal, check)
		}
	}
	app.Get("/livez", func(c *fiber.Ctx) error { return fatal.ready(c, why) })
	app.Get("/readyz", func(c *fiber.Ctx) error { return h.ready(c, why) })
}

// ready says by name what is well and what is not.
func (h Health) ready(c *fiber.Ctx, why bool) error {
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
