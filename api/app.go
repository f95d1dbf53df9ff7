package api

import (
	"fmt"
	"io"
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
	maxBatchBody  = 16 << 20
	// Up to so many times its limit a body is read before it is refused: a
	// connection that is closed while the other side writes is reset, and the
	// answer may be lost.
	patience = 8
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
	bodyLimit      func(path string) int // in bytes; streamed: no limit, for a handler that reads it piece by piece
	first          fiber.Handler         // the outermost middleware; nil: none
	streams        bool                  // bodies come as streams, so that there may be such a handler
	trustedProxies []Network
	log            *slog.Logger
	fail           func(*fiber.Ctx, error) error
	data           func(path string) bool // answers that are no pages: data for scripts
}

const streamed = -1

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
		BodyLimit:                    patience * cfg.bodyLimit("/"),
		StreamRequestBody:            cfg.streams,
		DisablePreParseMultipartForm: true, // no handler takes forms
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
	app.Use(func(c *fiber.Ctx) error {
		if limit := cfg.bodyLimit(c.Path()); limit != streamed {
			if err := limitBody(c, limit); err != nil {
				return err
			}
		}
		return c.Next()
	})
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

// limitBody reads the whole of a body, or refuses it.
func limitBody(c *fiber.Ctx, limit int) error {
	body := c.Request().Body
	if stream := c.Context().RequestBodyStream(); stream != nil {
		read, err := io.ReadAll(io.LimitReader(stream, int64(patience*limit)))
		if err != nil {
			c.Context().SetConnectionClose()
			return fiber.NewError(fiber.StatusRequestTimeout, "the body did not come whole, or not in time")
		}
		c.Request().SetBodyRaw(read)
	}
	if len(body()) > limit {
		c.Context().SetConnectionClose() // what is left of it is not read
		return fiber.NewError(fiber.StatusRequestEntityTooLarge, fmt.Sprintf("a body has at most %d bytes", limit))
	}
	return nil
}

// failPlain answers with problem details.
func failPlain(c *fiber.Ctx, err error) error {
	p, headers, _ := problem(err)
	return writeProblem(c, withTrace(p, tracing.ID(c.UserContext())), headers)
}
