package api

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	"github.com/gofiber/fiber/v2/middleware/recover"
)

// Limits of a request. Fiber has no time limits of its own.
const (
	readTimeout   = 10 * time.Second // for the whole of a request
	writeTimeout  = 30 * time.Second
	idleTimeout   = 75 * time.Second // above the minute that load balancers keep a connection
	maxHeader     = 16 << 10         // cookies of a shop's page among it
	maxPublicBody = 64 << 10
	maxAdminBody  = 1 << 20
	// Up to so many times its limit a body is read before it is refused: a
	// connection that is closed while the other side writes is reset, and the
	// answer may be lost.
	patience = 8
)

// csp lets our pages use what we serve, and pictures from anywhere.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https: data:; " +
	"font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"

// newApp is what the two apps have in common.
func newApp(name string, bodyLimit int, trustedProxies []string, log *slog.Logger, fail func(*fiber.Ctx, error) error) *fiber.App {
	app := fiber.New(fiber.Config{
		AppName:                 name,
		DisableStartupMessage:   true,
		ReadTimeout:             readTimeout,
		WriteTimeout:            writeTimeout,
		IdleTimeout:             idleTimeout,
		ReadBufferSize:          maxHeader,
		BodyLimit:               patience * bodyLimit,
		ReduceMemoryUsage:       true, // or each session keeps the reader of its handshake
		EnableTrustedProxyCheck: true, // or anybody may say who he is
		TrustedProxies:          trustedProxies,
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			if _, _, known := problem(err); !known {
				log.Error("request failed", "method", c.Method(), "path", c.Path(), "error", err)
			}
			return fail(c, err)
		},
	})
	app.Use(recover.New())
	app.Use(func(c *fiber.Ctx) error {
		if len(c.Request().Body()) > bodyLimit {
			return fiber.NewError(fiber.StatusRequestEntityTooLarge, fmt.Sprintf("a body has at most %d bytes", bodyLimit))
		}
		return c.Next()
	})
	app.Use(helmet.New(helmet.Config{
		ContentSecurityPolicy:     csp,
		XFrameOptions:             "SAMEORIGIN",
		ReferrerPolicy:            "strict-origin-when-cross-origin",
		CrossOriginEmbedderPolicy: "unsafe-none",  // pictures come from anywhere
		CrossOriginResourcePolicy: "cross-origin", // the client is embedded in other pages
	}))
	return app
}

// failPlain answers with problem details.
func failPlain(c *fiber.Ctx, err error) error {
	p, headers, _ := problem(err)
	return writeProblem(c, p, headers)
}
