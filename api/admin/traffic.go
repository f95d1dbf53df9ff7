package admin

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"shelfcast/internal/tracing"
)

// traffic counts and times the requests to the admin app, and traces the calls of its API.
type traffic struct {
	tracer   trace.Tracer // nil: no traces
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	routes   map[string]bool // of the app, besides the operations; static once it serves
}

func newTraffic(tracer trace.Tracer, to prometheus.Registerer) *traffic {
	return &traffic{
		tracer: tracer,
		requests: promauto.With(to).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_admin_requests_total", Help: "Requests answered by the admin app.",
		}, []string{"route", "method", "code"}),
		seconds: promauto.With(to).NewHistogramVec(prometheus.HistogramOpts{
			Name: "shelfcast_admin_request_duration_seconds", NativeHistogramBucketFactor: 1.1,
			Help: "Duration of requests of the admin app. " +
				"Requests that wait for changes take as long as they wait.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		routes: map[string]bool{},
	}
}

// registerRoutes takes the app's routes. A path that is not among them is not a label in the metrics: otherwise clients
// could make any number of labels.
func (t *traffic) registerRoutes(app *fiber.App) {
	for _, r := range app.GetRoutes(true) {
		t.routes[r.Path] = true
	}
}

type routeKey struct{}

// setRoute records the operation's path for a call.
func setRoute(c *fiber.Ctx, path string) { c.Locals(routeKey{}, path) }

// route returns one of a fixed number of names.
func (t *traffic) route(c *fiber.Ctx) string {
	if path, ok := c.Locals(routeKey{}).(string); ok {
		return path
	}
	// A request that was not found has gone through the middlewares last, whose path is /.
	if path := c.Route().Path; t.routes[path] && (path != "/" || c.Path() == "/") {
		return path
	}
	return "none"
}

// methodOf returns one of a fixed number of names, which do not share memory with the request.
func methodOf(c *fiber.Ctx) string {
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost,
		http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		if c.Method() == m {
			return m
		}
	}
	return "other"
}

// observe is the outermost middleware. It makes the answer to an error itself, so that it sees the status that is sent.
func (t *traffic) observe(c *fiber.Ctx) error {
	began := time.Now()
	span := t.startSpan(c)
	if err := c.Next(); err != nil {
		if err := c.App().ErrorHandler(c, err); err != nil {
			_ = c.SendStatus(fiber.StatusInternalServerError) // cannot fail
		}
	}
	route, method, status := t.route(c), methodOf(c), c.Response().StatusCode()
	t.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	t.seconds.WithLabelValues(route).Observe(time.Since(began).Seconds())
	if span != nil {
		endSpan(span, route, method, status)
	}
	return nil
}

// startSpan starts the span of a call of the API, as a child of the caller's span if the request names one. It returns
// nil if nothing is traced.
func (t *traffic) startSpan(c *fiber.Ctx) trace.Span {
	if t.tracer == nil || !strings.HasPrefix(c.Path(), apiPath+"/") {
		return nil
	}
	ctx := tracing.WithParent(c.UserContext(), c.Get("traceparent"), c.Get("tracestate"))
	ctx, span := t.tracer.Start(ctx, methodOf(c), trace.WithSpanKind(trace.SpanKindServer))
	c.SetUserContext(ctx)
	return span
}

// endSpan ends the span with what is known by then, under OpenTelemetry's names for HTTP.
func endSpan(span trace.Span, route, method string, status int) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetName(method + " " + route)
	span.SetAttributes(
		attribute.String("http.request.method", method), attribute.String("http.route", route),
		attribute.Int("http.response.status_code", status))
	if status >= 500 {
		span.SetStatus(codes.Error, "")
	}
}
