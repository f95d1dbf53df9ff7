package charttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A value is a documented value of values.yaml.
type value struct{ path, fallback, comment string }

// readValues returns the values of values.yaml in file order. A map counts as one value if it may
// have any key.
func readValues(t *testing.T) []value {
	t.Helper()
	text, err := os.ReadFile(chartDir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	s := readSchema(t)
	var all []value
	var walk func(node *yaml.Node, rule values, path string)
	walk = func(node *yaml.Node, rule values, path string) {
		properties, _ := s.resolve(rule)["properties"].(values)
		var here []string
		for i := 0; i < len(node.Content); i += 2 {
			key, of := node.Content[i], node.Content[i+1]
			name := strings.TrimPrefix(path+"."+key.Value, ".")
			here = append(here, key.Value)
			rule, known := properties[key.Value].(values)
			if !known {
				t.Errorf("%s is not in values.schema.json", name)
				continue
			}
			comment := strings.TrimSpace(regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(key.HeadComment, ""))
			if of.Kind == yaml.MappingNode && s.resolve(rule)["properties"] != nil && key.Value != "resources" {
				walk(of, rule, name)
				continue
			}
			if comment == "" {
				t.Errorf("%s has no comment", name)
			}
			all = append(all, value{name, fallback(t, of), strings.Join(strings.Fields(comment), " ")})
		}
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			if !slices.Contains(here, name) && path+name != "global" {
				t.Errorf("%s.%s of values.schema.json is not in values.yaml", path, name)
			}
		}
	}
	walk(document.Content[0], s.root, "")
	return all
}

func fallback(t *testing.T, node *yaml.Node) string {
	t.Helper()
	var v any
	if err := node.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text.String())
}

// The chart's README lists each value with its default and its comment.
func TestReadmeListsAllValues(t *testing.T) {
	const file, begin, end = chartDir + "/README.md", "<!-- values: made of values.yaml by go test -update -->\n",
		"<!-- end of values -->"
	var table strings.Builder
	table.WriteString("| value | default | |\n|---|---|---|\n")
	all := readValues(t)
	for _, v := range all {
		fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", v.path, v.fallback, strings.ReplaceAll(v.comment, "|", "\\|"))
	}
	if len(all) < 100 {
		t.Errorf("only %d values were found", len(all))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	was, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no markers for the table of values", file)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if was != table.String() {
		t.Errorf("the values in %s differ from values.yaml; -update rewrites them", file)
	}
	// Values that the text mentions exist.
	for _, name := range regexp.MustCompile("`([a-zA-Z]+(?:\\.[a-zA-Z]+)+)`").FindAllStringSubmatch(before+after, -1) {
		isNamed := func(v value) bool { return v.path == name[1] || strings.HasPrefix(v.path, name[1]+".") }
		if !slices.ContainsFunc(all, isNamed) &&
			!strings.HasSuffix(name[1], ".yaml") && !strings.HasSuffix(name[1], ".json") && !strings.HasSuffix(name[1], ".md") {
			t.Errorf("the README names %s, and there is no such value", name[1])
		}
	}
}

// The chart has a value for each setting of the program, and sets no unknown setting.
func TestChartHasEverySetting(t *testing.T) {
	const cmd = "../../cmd/shelfcast/"
	want := map[string]bool{}
	settingsOf(t, "../../server", "Settings", "", want)
	settingsOf(t, cmd, "program", "", want)
	// The image's ports are fixed, and --locale is --locales for one language.
	for _, name := range []string{"LISTEN", "ADMIN_LISTEN", "LOCALE"} {
		if !want["SHELFCAST_"+name] {
			t.Errorf("there is no setting %s", name)
		}
		delete(want, "SHELFCAST_"+name)
	}
	got := map[string]bool{}
	for name := range env(mustRender(t, cases["everything"]).one(t, "Deployment", "shelfcast")) {
		if strings.HasPrefix(name, "SHELFCAST_") {
			got[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !got[name] {
			t.Errorf("the chart has no value for the program's setting %s, or testdata/everything.yaml does not use it", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if !want[name] {
			t.Errorf("the chart sets %s, which the program does not know", name)
		}
	}
}

// settingsOf adds the environment variables of a struct of flags to into, named as kong does.
func settingsOf(t *testing.T, dir, name, prefix string, into map[string]bool) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), dir+"/"+file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != name {
				return true
			}
			found = true
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				settingOf(t, dir, field, prefix, into)
			}
			return false
		})
	}
	if !found {
		t.Errorf("%s has no type %s", dir, name)
	}
}

func settingOf(t *testing.T, dir string, field *ast.Field, prefix string, into map[string]bool) {
	t.Helper()
	var tag reflect.StructTag
	if field.Tag != nil {
		tag = reflect.StructTag(strings.Trim(field.Tag.Value, "`"))
	}
	if _, command := tag.Lookup("cmd"); command {
		return
	}
	if _, embedded := tag.Lookup("embed"); embedded {
		settingsOf(t, dir, field.Type.(*ast.Ident).Name, prefix+tag.Get("prefix"), into)
		return
	}
	for _, ident := range field.Names {
		flag := tag.Get("name")
		if flag == "" {
			flag = regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(ident.Name, "$1-$2")
		}
		into["SHELFCAST_"+strings.ToUpper(strings.ReplaceAll(prefix+flag, "-", "_"))] = true
	}
}
