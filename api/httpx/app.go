// Package httpx is what the public and the admin app share: the Fiber app with its limits, bounded request bodies,
// client addresses behind proxies, health routes and assets. It knows nothing of products or callers.
package httpx

import (
	"log/slog"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	"github.com/gofiber/fiber/v2/middleware/recover"

	"shelfcast/api/problem"
)

// Limits of a request. Fiber has no time limits by default.
const (
	ReadTimeout  = 10 * time.Second // for the whole of a request
	WriteTimeout = 30 * time.Second
	idleTimeout  = 75 * time.Second // above the minute for which load balancers keep a connection
	MaxHeader    = 16 << 10         // includes the cookies of a shop's page
)

// CSP allows pages to load what the app serves, and pictures from anywhere.
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https: data:; " +
	"font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"

// AppConfig is what differs between the two apps.
type AppConfig struct {
	Name           string
	CSP            string
	Bodies         *BodyLimiter
	First          fiber.Handler // the outermost middleware; nil: none
	TrustedProxies []Network
	Log            *slog.Logger
	Fail           func(*fiber.Ctx, error) error
	IsData         func(path string) bool // whether the answer is data for scripts, and no page
}

// NewApp returns a Fiber app with the limits, headers and error handling that both apps have.
func NewApp(cfg AppConfig) *fiber.App {
	trusted := make([]string, len(cfg.TrustedProxies))
	for i, network := range cfg.TrustedProxies {
		trusted[i] = network.String()
	}
	app := fiber.New(fiber.Config{
		AppName:                      cfg.Name,
		DisableStartupMessage:        true,
		ReadTimeout:                  ReadTimeout,
		WriteTimeout:                 WriteTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               MaxHeader,
		StreamRequestBody:            true,
		BodyLimit:                    1,    // one byte, and then the handler is called: see BodyLimiter
		DisablePreParseMultipartForm: true, // no handler takes forms
		Immutable:                    true, // its strings are copies; otherwise they would become text of the next request
		StrictRouting:                true, // a load balancer filters by path, so a path has one spelling:
		CaseSensitive:                true, // neither /readyz/ nor /ReadyZ is /readyz
		EnableTrustedProxyCheck:      true, // otherwise every client could choose its address
		TrustedProxies:               trusted,
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			if _, _, known := problem.Of(err); !known {
				cfg.Log.ErrorContext(c.UserContext(), "request failed", "method", c.Method(), "path", c.Path(), "error", err)
			}
			return cfg.Fail(c, err)
		},
	})
	if cfg.First != nil {
		app.Use(cfg.First)
	}
	app.Use(recover.New())
	app.Use(cfg.Bodies.guard)
	app.Use(helmet.New(helmet.Config{
		// Data has no page's headers. It must only not be taken for a page.
		Next: func(c *fiber.Ctx) bool {
			data := cfg.IsData != nil && cfg.IsData(c.Path())
			if data {
				c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
			}
			return data
		},
		ContentSecurityPolicy:     cfg.CSP,
		XFrameOptions:             "SAMEORIGIN",
		ReferrerPolicy:            "strict-origin-when-cross-origin",
		CrossOriginEmbedderPolicy: "unsafe-none",  // pictures come from anywhere
		CrossOriginResourcePolicy: "cross-origin", // the client is embedded in other pages
	}))
	return app
}

// GetPage serves a page at path, and redirects to it from path with a slash at the end.
func GetPage(app *fiber.App, path string, page fiber.Handler) {
	app.Get(path, page)
	app.Get(path+"/", func(c *fiber.Ctx) error {
		to := strings.TrimSuffix(c.Path(), "/")
		if query := c.Context().QueryArgs().String(); query != "" {
			to += "?" + query
		}
		return c.Redirect(to, fiber.StatusMovedPermanently)
	})
}
