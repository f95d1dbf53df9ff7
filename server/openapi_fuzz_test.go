package server_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"shelfcast/store"
)

// TestOpenAPIFuzz makes thousands of requests from the OpenAPI document, valid and
// broken in every way. No answer is a 500, and each matches the document.
// SHELFCAST_TEST_SEED repeats a run; with SHELFCAST_TEST_LONG there are sixty times as
// many requests.
func TestOpenAPIFuzz(t *testing.T) {
	t.Parallel()
	random := strconv.FormatInt(time.Now().UnixNano(), 10)
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("SHELFCAST_TEST_SEED"), random), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("SHELFCAST_TEST_SEED=%d", seed)
	each := 40
	if os.Getenv("SHELFCAST_TEST_LONG") != "" {
		each *= 60
	}
	f := startFleet(t, nil)
	s := &apiFuzzer{fleet: f, random: rand.New(rand.NewPCG(seed, 0)), answers: map[string]int{}}
	for n := range 5 {
		s.products = append(s.products, f.product(t, fmt.Sprint("p", n)))
	}
	_, _, text := call(t, "GET", "http://"+f.instances[0].AdminAddr()+"/api/openapi.json", "", nil)
	s.document = parse[map[string]any](t, text)
	paths := s.document["paths"].(map[string]any)
	for range each {
		for _, path := range slices.Sorted(maps.Keys(paths)) {
			for _, method := range slices.Sorted(maps.Keys(paths[path].(map[string]any))) {
				s.ask(t, path, strings.ToUpper(method), paths[path].(map[string]any)[method].(map[string]any))
				if t.Failed() {
					return
				}
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(s.answers)) {
		t.Logf("%5d × %s", s.answers[kind], kind)
	}
	if s.answers["200"] == 0 || s.answers["422"] == 0 || s.answers["500"] > 0 {
		t.Errorf("answers: %v", s.answers)
	}
}

// An apiFuzzer makes requests from the OpenAPI document, for some products.
type apiFuzzer struct {
	fleet    *fleet
	random   *rand.Rand
	document map[string]any
	products []store.Product
	answers  map[string]int
}

func (s *apiFuzzer) one(of ...any) any { return of[s.random.IntN(len(of))] }
func (s *apiFuzzer) sometimes() bool   { return s.random.IntN(4) == 0 }

func (s *apiFuzzer) ask(t *testing.T, path, method string, op map[string]any) {
	t.Helper()
	p := s.products[s.random.IntN(len(s.products))]
	if current, err := s.fleet.db.Product(t.Context(), p.ID); err == nil {
		p = current
	}
	query, headers := url.Values{}, http.Header{}
	for _, raw := range list(op["parameters"]) {
		param := s.resolve(raw)
		name := param["name"].(string)
		value := text(s.value(s.resolve(param["schema"]), 0))
		switch {
		case name == "wait":
			value = "0"
		case name == "id" && !s.sometimes():
			value = fmt.Sprint(p.ID)
		case name == "If-Match" && !s.sometimes():
			value = etag(p.Rev)
		case s.sometimes():
			value = text(s.junk())
		}
		switch param["in"] {
		case "path":
			path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(cmp.Or(value, "x")))
		case "query":
			if param["required"] == true || name == "wait" || s.sometimes() {
				query.Set(name, value)
			}
		case "header":
			if name == "If-Match" || name != "Accept" && s.sometimes() {
				headers.Set(name, strings.Map(printable, value))
			}
		}
	}
	if s.random.IntN(20) == 0 {
		query.Set("unknown", "x")
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	body := s.body(op, headers)
	status, _, _ := s.fleet.admin(t, s.random.IntN(2), method, path, body, headers)
	s.answers[strconv.Itoa(status)]++
	if status == http.StatusInternalServerError || status == http.StatusServiceUnavailable {
		t.Errorf("%d to %s %s %v %.2000q", status, method, path, headers, body)
	}
	if t.Failed() {
		t.Logf("%s %s %v %.2000q", method, path, headers, body)
	}
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return -1
	}
	return r
}

// body returns a body that is valid by the document, or not.
func (s *apiFuzzer) body(op map[string]any, headers http.Header) string {
	request, _ := op["requestBody"].(map[string]any)
	if request == nil {
		return ""
	}
	content := request["content"].(map[string]any)
	kinds := slices.Sorted(maps.Keys(content))
	kind := kinds[s.random.IntN(len(kinds))]
	headers.Set("Content-Type", kind)
	if s.random.IntN(20) == 0 {
		headers.Set("Content-Type", "application/xml")
	}
	if kind == "text/csv" {
		return text(s.one("Handle,Title,Variant Price\nx,X,1\n", "Handle,Title\n", "Handle,Title,Variant Price\n\"", "\x00",
			"Handle,Title,Variant Price\ny,Y,free\n"))
	}
	value := s.value(s.resolve(content[kind].(map[string]any)["schema"]), 0)
	if s.sometimes() {
		value = s.broken(value)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	switch s.random.IntN(25) {
	case 0:
		return string(encoded[:s.random.IntN(len(encoded))])
	case 1:
		return text(s.junk())
	}
	return string(encoded)
}

// value returns a value of the schema.
func (s *apiFuzzer) value(schema map[string]any, depth int) any {
	if options := list(schema["enum"]); len(options) > 0 {
		return s.one(options...)
	}
	if options := list(schema["oneOf"]); len(options) > 0 {
		return s.value(s.resolve(s.one(options...)), depth)
	}
	kind := schema["type"]
	if kinds := list(kind); len(kinds) > 0 {
		kind = s.one(kinds...)
	}
	switch kind {
	case "object":
		return s.object(schema, depth)
	case "array":
		n := s.random.IntN(4)
		if least, ok := schema["minItems"].(float64); ok {
			n = max(n, int(least))
		}
		items := make([]any, n)
		for i := range items {
			items[i] = s.value(s.resolve(schema["items"]), depth+1)
		}
		return items
	case "integer", "number":
		least, _ := schema["minimum"].(float64)
		return s.one(least, least+1, float64(s.products[0].ID), float64(s.products[1].ID),
			float64(s.products[1].Version), 7.0)
	case "boolean":
		return s.one(true, false)
	case "null":
		return nil
	}
	return s.one("lamp", "19.90", "5", "EUR", "USD", "-12.5", "p1", fmt.Sprint("x", s.random.IntN(1000)),
		"<b>é\u2028</b>", "/a.jpg", "https://x.example/1.jpg", "A lamp")
}

func (s *apiFuzzer) object(schema map[string]any, depth int) any {
	made := map[string]any{}
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		if slices.Contains(list(schema["required"]), any(name)) || s.random.IntN(2) == 0 && depth < 4 {
			made[name] = s.value(s.resolve(property), depth+1)
		}
	}
	return made
}

// junk returns a value that is rarely valid.
func (s *apiFuzzer) junk() any {
	return s.one(nil, true, -1.0, 0.5, 1e300, 9007199254740993.0, "", "abc", strings.Repeat("x", 3000), "\x00\x01", "\xff",
		"' OR 1=1 --", "{{.}}", "../..", "%", "🧨", "null",
		"99999999999999999999", "1e9", []any{}, []any{[]any{[]any{}}}, map[string]any{}, map[string]any{"id": "x"})
}

// broken returns the value with something changed.
func (s *apiFuzzer) broken(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 || s.random.IntN(3) == 0 {
			v[text(s.one("unknown", "id", "price", ""))] = s.junk()
			return v
		}
		names := slices.Sorted(maps.Keys(v))
		name := names[s.random.IntN(len(names))]
		if s.sometimes() {
			delete(v, name)
			return v
		}
		v[name] = s.broken(v[name])
		return v
	case []any:
		if len(v) > 0 && !s.sometimes() {
			at := s.random.IntN(len(v))
			v[at] = s.broken(v[at])
			return v
		}
	}
	return s.junk()
}

func (s *apiFuzzer) resolve(schema any) map[string]any {
	m, _ := schema.(map[string]any)
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	at := any(s.document)
	for _, step := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(map[string]any)[step]
	}
	return at.(map[string]any)
}

func list(v any) []any { l, _ := v.([]any); return l }

// text returns a value as a parameter.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = text(item)
		}
		return strings.Join(parts, ",")
	}
	encoded, _ := json.Marshal(v)
	return string(encoded)
}
