package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/errors"
)

// A contract is the served OpenAPI document of the admin API. Every answer in the
// tests is validated against it.
type contract struct {
	mu        sync.Mutex
	validator validator.Validator
}

// theContract is parsed once, as all instances are of one build.
var theContract contract

func contractOf(t testing.TB, admin string) *contract {
	t.Helper()
	c := &theContract
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.validator != nil {
		return c
	}
	response, err := http.Get("http://" + admin + "/api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	document, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, faults := v.ValidateDocument(); !ok {
		t.Fatalf("the document is no OpenAPI 3.1: %s", said(faults))
	}
	c.validator = v
	return c
}

func said(faults []*errors.ValidationError) string {
	var text strings.Builder
	for _, f := range faults {
		text.WriteString("\n" + f.Message + ": " + f.Reason)
		for _, s := range f.SchemaValidationErrors {
			text.WriteString("\n\t" + s.KeywordLocation + " " + s.FieldPath + " " + s.Reason)
		}
	}
	return text.String()
}

// check validates an answer. Unknown routes must be answered with a problem.
func (c *contract) check(t testing.TB, method, url string, status int, header http.Header, body string) {
	t.Helper()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response := &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader([]byte(body))),
		Request: request}
	c.mu.Lock()
	ok, faults := c.validator.ValidateHttpResponse(request, response)
	c.mu.Unlock()
	if !ok && !(status == http.StatusNotFound && strings.Contains(body, "no-such-route")) &&
		status != http.StatusMethodNotAllowed {
		t.Errorf("%s %s: %d is not as the document has it:%s\n%.600s", method, url, status, said(faults), body)
	}
	if status < 400 {
		return
	}
	var problem struct {
		Type, Title string
		Status      int
	}
	if err := json.Unmarshal([]byte(body), &problem); err != nil ||
		header.Get("Content-Type") != "application/problem+json" ||
		problem.Status != status || problem.Title == "" || !strings.HasPrefix(problem.Type, "urn:shelfcast:problem:") {
		t.Errorf("%s %s: %d is no problem: %s, %v", method, url, status, body, err)
	}
}
