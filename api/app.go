package api

import (
	"log/slog"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	"github.com/gofiber/fiber/v2/middleware/recover"

	"shelfcast/store"
	"shelfcast/store/tracing"
)

// Limits of a request. Fiber has no time limits of its own.
const (
	readTimeout   = 10 * time.Second // for the whole of a request
	writeTimeout  = 30 * time.Second
	idleTimeout   = 75 * time.Second // above the minute that load balancers keep a connection
	maxHeader     = 16 << 10         // cookies of a shop's page among it
	maxPublicBody = 64 << 10
	maxAdminBody  = 1 << 20
	maxBatchBody  = 16 << 20 // of calls of the admin API about many products

	// What all bodies that are received may take of memory.
	maxPublicBodies = 32 << 20
	maxAdminBodies  = 64 << 20
	maxCallerBodies = 32 << 20 // of one token
)

// csp lets our pages use what we serve, and pictures from anywhere.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https: data:; " +
	"font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"

// shopCSP is csp with what a description may have, which is sanitised: text-align
// as a style, and videos.
func shopCSP(videos bool) string {
	policy := csp + "; style-src-attr 'unsafe-inline'"
	if videos {
		policy += "; media-src 'self' https:; frame-src " + strings.Join(store.FrameSources, " ")
	}
	return policy
}

// An appConfig is in what the two apps differ.
type appConfig struct {
	name           string
	csp            string
	bodies         *intake
	first          fiber.Handler // the outermost middleware; nil: none
	trustedProxies []Network
	log            *slog.Logger
	fail           func(*fiber.Ctx, error) error
	data           func(path string) bool // answers that are no pages: data for scripts
}

// newApp is what the two apps have in common.
func newApp(cfg appConfig) *fiber.App {
	trusted := make([]string, len(cfg.trustedProxies))
	for i, network := range cfg.trustedProxies {
		trusted[i] = network.String()
	}
	app := fiber.New(fiber.Config{
		AppName:                      cfg.name,
		DisableStartupMessage:        true,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               maxHeader,
		StreamRequestBody:            true,
		BodyLimit:                    1,    // a byte, and then the handler has its turn: see intake
		DisablePreParseMultipartForm: true, // no handler takes forms
		Immutable:                    true, // its strings are copies; others become text of the next request
		StrictRouting:                true, // what a load balancer lets through by its path is what is served:
		CaseSensitive:                true, // neither /readyz/ nor /ReadyZ is /readyz
		EnableTrustedProxyCheck:      true, // or anybody may say who he is
		TrustedProxies:               trusted,
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			if _, _, known := problem(err); !known {
				cfg.log.ErrorContext(c.UserContext(), "request failed", "method", c.Method(), "path", c.Path(), "error", err)
			}
			return cfg.fail(c, err)
		},
	})
	if cfg.first != nil {
		app.Use(cfg.first)
	}
	app.Use(recover.New())
	app.Use(cfg.bodies.guard)
	app.Use(helmet.New(helmet.Config{
		// What is no page can do nothing: it is only not to be taken for one.
		Next: func(c *fiber.Ctx) bool {
			data := cfg.data != nil && cfg.data(c.Path())
			if data {
				c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
			}
			return data
		},
		ContentSecurityPolicy:     cfg.csp,
		XFrameOptions:             "SAMEORIGIN",
		ReferrerPolicy:            "strict-origin-when-cross-origin",
		CrossOriginEmbedderPolicy: "unsafe-none",  // pictures come from anywhere
		CrossOriginResourcePolicy: "cross-origin", // the client is embedded in other pages
	}))
	return app
}

// getPage serves a page, and sends to it whoever has written its path with a slash at
// the end.
func getPage(app *fiber.App, path string, page fiber.Handler) {
	app.Get(path, page)
	app.Get(path+"/", func(c *fiber.Ctx) error {
		to := strings.TrimSuffix(c.Path(), "/")
		if query := c.Context().QueryArgs().String(); query != "" {
			to += "?" + query
		}
		return c.Redirect(to, fiber.StatusMovedPermanently)
	})
}

// failPlain answers with problem details.
func failPlain(c *fiber.Ctx, err error) error {
	p, headers, _ := problem(err)
	return writeProblem(c, withTrace(p, tracing.ID(c.UserContext())), headers)
}
