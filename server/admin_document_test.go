package server_test

import (
	"strings"
	"testing"
)

// The OpenAPI document has an example of every operation, is also served as an HTML
// page, and covers all routes.
func TestOpenAPIDocumentIsServed(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	_, _, text := call(t, "GET", "http://"+f.instances[1].AdminAddr()+"/api/openapi.json", "", nil)
	type content map[string]struct{ Example any }
	document := parse[struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID, Summary string
			Security             []map[string][]string
			RequestBody          *struct{ Content content }
			Responses            map[string]struct{ Content content }
		}
	}](t, text)
	status, headers, page := call(t, "GET", "http://"+f.instances[0].AdminAddr()+"/api/docs", "", nil)
	if status != 200 || !strings.Contains(headers.Get("Content-Security-Policy"), "default-src 'none'") ||
		strings.Contains(page, "<script") {
		t.Errorf("%d %v", status, headers)
	}
	count := 0
	for path, operations := range document.Paths {
		for method, op := range operations {
			count++
			if op.Summary == "" || op.OperationID == "" || len(op.Security) != 1 ||
				!strings.Contains(page, `id="`+op.OperationID+`"`) {
				t.Errorf("%s %s: %+v", method, path, op)
			}
			examples := 0
			if op.RequestBody != nil {
				for kind, c := range op.RequestBody.Content {
					if c.Example == nil && kind != "text/csv" {
						t.Errorf("%s %s: no example of the body %s", method, path, kind)
					}
				}
			}
			for code, r := range op.Responses {
				for _, c := range r.Content {
					if c.Example != nil && code < "300" {
						examples++
					}
				}
			}
			if examples == 0 {
				t.Errorf("%s %s: no example of an answer", method, path)
			}
		}
	}
	if document.OpenAPI != "3.1.0" || count < 20 {
		t.Errorf("%s with %d operations", document.OpenAPI, count)
	}
}
