package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Every route below /api/v1 is in the document, and nothing else is.
func TestOpenAPIDocumentHasEveryRoute(t *testing.T) {
	app := (&App{Metrics: http.NotFoundHandler(), Registerer: prometheus.NewRegistry()}).Fiber()
	request := httptest.NewRequest("GET", "/api/openapi.json", nil)
	request.Host = "localhost"
	response, err := app.Test(request)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	var said, served []string
	for path, operations := range document.Paths {
		for method := range operations {
			said = append(said, strings.ToUpper(method)+" "+path)
		}
	}
	for _, r := range app.GetRoutes(true) { // without those of middlewares
		if strings.HasPrefix(r.Path, apiPath+"/") && r.Method != http.MethodHead {
			path := strings.ReplaceAll(strings.ReplaceAll(r.Path, "/:id", "/{id}"), `\:`, ":")
			served = append(served, r.Method+" "+path)
		}
	}
	slices.Sort(said)
	slices.Sort(served)
	if !slices.Equal(said, served) || len(said) < 20 {
		t.Errorf("the document has\n%s\nserved are\n%s", strings.Join(said, "\n"), strings.Join(served, "\n"))
	}
}
