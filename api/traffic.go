package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"shelfcast/store/tracing"
)

// traffic counts what the admin app answers, and traces the calls of its API.
type traffic struct {
	tracer   trace.Tracer // nil: nothing is traced
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	routes   map[string]bool // of the app, besides those of the document; static once it serves
}

func newTraffic(tracer trace.Tracer, to prometheus.Registerer) *traffic {
	return &traffic{
		tracer: tracer,
		requests: promauto.With(to).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_admin_requests_total", Help: "Requests answered by the admin app.",
		}, []string{"route", "method", "code"}),
		seconds: promauto.With(to).NewHistogramVec(prometheus.HistogramOpts{
			Name: "shelfcast_admin_request_seconds", Help: "How long requests of the admin app took; those that wait for changes, as long as they wait.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, NativeHistogramBucketFactor: 1.1,
		}, []string{"route"}),
		routes: map[string]bool{},
	}
}

// know takes the app's routes: what is not among them has no name in the metrics,
// or whoever calls could make as many as he likes.
func (t *traffic) know(app *fiber.App) {
	for _, r := range app.GetRoutes(true) {
		t.routes[r.Path] = true
	}
}

type routeKey struct{}

// routed notes the path of the document that a call is of.
func routed(c *fiber.Ctx, path string) { c.Locals(routeKey{}, path) }

// route is one of a fixed number of names.
func (t *traffic) route(c *fiber.Ctx) string {
	if path, ok := c.Locals(routeKey{}).(string); ok {
		return path
	}
	// What is not found has been through the middlewares last, whose path is /.
	if path := c.Route().Path; t.routes[path] && (path != "/" || c.Path() == "/") {
		return path
	}
	return "none"
}

// methodOf is one of a fixed number of names, and none of Fiber's strings.
func methodOf(c *fiber.Ctx) string {
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		if c.Method() == m {
			return m
		}
	}
	return "other"
}

// observe is the outermost middleware: it has the answer to an error made, so that
// it sees what is sent.
func (t *traffic) observe(c *fiber.Ctx) error {
	began := time.Now()
	span := t.begin(c)
	if err := c.Next(); err != nil {
		if err := c.App().ErrorHandler(c, err); err != nil {
			_ = c.SendStatus(fiber.StatusInternalServerError) // which cannot fail
		}
	}
	route, method, status := t.route(c), methodOf(c), c.Response().StatusCode()
	t.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	t.seconds.WithLabelValues(route).Observe(time.Since(began).Seconds())
	if span != nil {
		end(span, route, method, status)
	}
	return nil
}

// begin begins the span of a call of the API, which goes on with the trace that
// its caller names; nil: nothing is traced.
func (t *traffic) begin(c *fiber.Ctx) trace.Span {
	if t.tracer == nil || !strings.HasPrefix(c.Path(), apiPath+"/") {
		return nil
	}
	ctx := tracing.WithParent(c.UserContext(), c.Get("traceparent"), c.Get("tracestate"))
	ctx, span := t.tracer.Start(ctx, methodOf(c), trace.WithSpanKind(trace.SpanKindServer))
	c.SetUserContext(ctx)
	return span
}

// end ends it, with what is known by then (OpenTelemetry's names for HTTP).
func end(span trace.Span, route, method string, status int) {
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

// instanceOf names the trace of a call as the instance of its problem; "" if there
// is none.
func instanceOf(id string) string {
	if id == "" {
		return ""
	}
	return "urn:shelfcast:trace:" + id
}

// withTrace is p with the trace of the call that it is the answer to.
func withTrace(p *huma.ErrorModel, id string) *huma.ErrorModel {
	if id == "" {
		return p
	}
	its := *p // which may be kept, for who calls again
	its.Instance = instanceOf(id)
	return &its
}
