package charttest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
)

// Breaking any rule of values.schema.json stops the rendering with an error that names the value.
func TestSchemaViolationsAreRefused(t *testing.T) {
	s := readSchema(t)
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	s.violations(s.root, nil, func(path []string, bad any, what string) {
		tried++
		_, err := chartutil.ToRenderValues(c, copied(with(cases["default"], nested(path, bad))),
			chartutil.ReleaseOptions{}, nil)
		if err == nil {
			t.Errorf("%s: %s is accepted: %v", strings.Join(path, "."), what, bad)
		} else if want := "at '" + strings.Join(append([]string{""}, path...), "/"); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s is refused, but the error does not name %s: %v", strings.Join(path, "."), what, want, err)
		}
	})
	if tried < 400 {
		t.Errorf("only %d violations were tried", tried)
	}
}

// A schema is the parsed values.schema.json.
type schema struct {
	root        values
	definitions values
}

func readSchema(t *testing.T) schema {
	t.Helper()
	text, err := os.ReadFile(chartDir + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root values
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return schema{root: root, definitions: root["definitions"].(values)}
}

func (s schema) resolve(rule values) values {
	if ref, ok := rule["$ref"].(string); ok {
		return s.definitions[strings.TrimPrefix(ref, "#/definitions/")].(values)
	}
	return rule
}

// violations calls try with a bad value for each rule, and its path.
func (s schema) violations(rule values, path []string, try func(path []string, bad any, what string)) {
	rule = s.resolve(rule)
	types := typesOf(rule)
	if len(path) > 0 {
		try(path, ofNoType(types), "another type")
	}
	switch {
	case slices.Contains(types, "object"):
		s.violationsOfObject(rule, path, try)
	case slices.Contains(types, "array"):
		s.violationsOfArray(rule, path, try)
	default:
		violationsOfScalar(rule, types, func(bad any, what string) { try(path, bad, what) })
	}
}

func (s schema) violationsOfObject(rule values, path []string, try func([]string, any, string)) {
	properties, _ := rule["properties"].(values)
	if len(properties) > 0 || rule["additionalProperties"] == false { // each such rule must reject other properties
		try(path, values{"unknown": 1}, "an unknown value")
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		s.violations(properties[name].(values), append(slices.Clone(path), name), try)
	}
	if every, ok := rule["additionalProperties"].(values); ok {
		s.violations(every, append(slices.Clone(path), "some"), try)
	}
	names, _ := rule["patternProperties"].(values)
	for pattern := range names {
		try(path, values{notMatching(pattern): "text"}, "a name of another form")
	}
}

func (s schema) violationsOfArray(rule values, path []string, try func([]string, any, string)) {
	if least, ok := rule["minItems"].(float64); ok && least > 0 {
		try(path, []any{}, "an empty list")
	}
	items, ok := rule["items"].(values)
	if !ok {
		return
	}
	items = s.resolve(items)
	required, _ := items["required"].([]any)
	for _, name := range required {
		try(path, []any{values{}}, fmt.Sprintf("an item without %s", name))
	}
	// A bad item is tried as the only one of its list.
	s.violations(items, nil, func(inner []string, bad any, what string) {
		if len(inner) > 0 {
			bad = nested(inner, bad)
		}
		try(path, []any{bad}, what+" in an item")
	})
	if types := typesOf(items); len(types) > 0 {
		try(path, []any{ofNoType(types)}, "an item of another type")
	}
	if rule["uniqueItems"] == true {
		same := map[string]any{"integer": 3306}[typesOf(items)[0]]
		if same == nil {
			same = "*"
			if pattern, ok := items["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString("*") {
				same = "10"
				if !regexp.MustCompile(pattern).MatchString("10") {
					same = "de"
				}
			}
		}
		try(path, []any{same, same}, "an item twice")
	}
}

func violationsOfScalar(rule values, types []string, try func(any, string)) {
	if _, ok := rule["enum"]; ok {
		try("no-such", "a word that is none of them")
	}
	if least, ok := rule["minimum"].(float64); ok {
		try(int(least)-1, "less than the least")
	}
	if most, ok := rule["maximum"].(float64); ok {
		try(int(most)+1, "more than the most")
	}
	if slices.Contains(types, "integer") {
		try(1.5, "a fraction")
	}
	if least, ok := rule["minLength"].(float64); ok && least > 0 {
		try("", "an empty text")
	}
	if most, ok := rule["maxLength"].(float64); ok {
		try(strings.Repeat("a", int(most)+1), "too long a text")
	}
	if pattern, ok := rule["pattern"].(string); ok {
		try(notMatching(pattern), "another form")
	}
}

func typesOf(rule values) []string {
	switch types := rule["type"].(type) {
	case string:
		return []string{types}
	case []any:
		var all []string
		for _, one := range types {
			all = append(all, one.(string))
		}
		return all
	}
	return nil
}

// ofNoType returns a value of none of the types.
func ofNoType(types []string) any {
	for _, one := range []struct {
		kind  string
		value any
	}{{"boolean", true}, {"array", []any{"a"}}, {"string", "some text"}} {
		if !slices.Contains(types, one.kind) {
			return one.value
		}
	}
	panic("all types")
}

func notMatching(pattern string) string {
	r := regexp.MustCompile(pattern)
	for _, text := range []string{"!", "a b", "no form of ours ü", "/ "} {
		if !r.MatchString(text) {
			return text
		}
	}
	panic("everything matches " + pattern)
}

// nested returns maps that have the value at the path.
func nested(path []string, value any) values {
	for _, step := range slices.Backward(path) {
		value = values{step: value}
	}
	return value.(values)
}
