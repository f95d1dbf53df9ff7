package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	tables "github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func TestDashboardInChartIsCurrent(t *testing.T) {
	want, err := dashboardJSON()
	if err != nil {
		t.Fatal(err)
	}
	if read(t, dashboardFile) != string(want) {
		t.Error("the dashboard has changed: make dashboard")
	}
}

// The dashboard is valid by Grafana's schema, which rejects unknown fields.
func TestDashboardMatchesGrafanaSchema(t *testing.T) {
	known := cog.NewRuntime() // only the schemas in use; all of them take a minute to build
	known.RegisterPanelcfgVariant(timeseries.VariantConfig())
	known.RegisterPanelcfgVariant(stat.VariantConfig())
	known.RegisterPanelcfgVariant(tables.VariantConfig())
	known.RegisterDataqueryVariant(prometheus.VariantConfig())
	text := read(t, dashboardFile)
	if wrong := strictly(text); wrong != "" {
		t.Fatal(wrong)
	}
	var d dashboard.Dashboard
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if wrong := words(d.Validate()); wrong != "" {
		t.Fatal(wrong)
	}
	// kubectl apply keeps a copy of the object in an annotation of at most 256 KiB.
	var short bytes.Buffer
	if err := json.Compact(&short, []byte(text)); err != nil || short.Len() > 200<<10 {
		t.Errorf("the dashboard has %d bytes, %v", short.Len(), err)
	}
	for what, broken := range map[string]string{
		"an unknown field of a panel":    strings.Replace(text, `"targets":`, `"querys":`, 1),
		"an unknown field of a query":    strings.Replace(text, `"legendFormat":`, `"legend":`, 1),
		"a number where there is text":   strings.Replace(text, `"unit": "s"`, `"unit": 7`, 1),
		"an option that the panel lacks": strings.Replace(text, `"showLegend":`, `"showLegends":`, 1),
	} {
		if broken == text {
			t.Errorf("%s: the replacement changed nothing", what)
		} else if strictly(broken) == "" {
			t.Errorf("%s is accepted", what)
		}
	}
}

// strictly returns how a dashboard violates the schema, or "".
func strictly(text string) string {
	var d dashboard.Dashboard
	return words(d.UnmarshalJSONStrict([]byte(text)))
}

// words returns the text of an error, or "". The schema returns lists, and an empty list is no
// error.
func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What the schema does not check: IDs are unique, panels do not overlap, each queries the selected
// data source, and all variables exist.
func TestPanelsAreComplete(t *testing.T) {
	b := readBoard(t)
	variables := []string{"__rate_interval", "__all"}
	for _, v := range b.Templating.List {
		variables = append(variables, v.Name)
		if v.Type == "query" && (v.Datasource == nil || v.Datasource.UID != "${datasource}") {
			t.Errorf("the variable %s asks %v", v.Name, v.Datasource)
		}
	}
	if !slices.Equal(variables[2:], []string{"datasource", "namespace", "job", "instance"}) {
		t.Errorf("the variables are %v", variables)
	}
	for _, used := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(read(t, dashboardFile), -1) {
		if !slices.Contains(variables, used[1]) {
			t.Errorf("there is no variable %s", used[0])
		}
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, p := range append(b.pictures(), b.Panels...) {
		if p.Type == "row" {
			if ids[p.ID] {
				t.Errorf("two rows have the ID %d", p.ID)
			}
			ids[p.ID] = true
		}
	}
	for _, p := range b.pictures() {
		if ids[p.ID] || titles[p.Title] {
			t.Errorf("two panels have the ID %d or the title %s", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		p.check(t)
	}
	if len(titles) < 60 {
		t.Errorf("only %d panels", len(titles))
	}
	apart(t, slices.DeleteFunc(slices.Clone(b.Panels), func(p picture) bool { return p.Type == "row" && p.Collapsed }))
	for _, p := range b.Panels {
		apart(t, p.Panels)
	}
}

func (p picture) check(t *testing.T) {
	t.Helper()
	if !slices.Contains([]string{"timeseries", "stat", "table"}, p.Type) {
		t.Errorf("%s: %s is not among the panels that come with Grafana", p.Title, p.Type)
	}
	if p.Title == "" || !strings.HasSuffix(p.Description, ".") {
		t.Errorf("%q has no description", p.Title)
	}
	if p.FieldConfig.Defaults.Unit == "" && p.Type != "table" {
		t.Errorf("%s has no unit", p.Title)
	}
	if len(p.Targets) == 0 {
		t.Errorf("%s has no query", p.Title)
	}
	refs := map[string]bool{}
	for _, q := range p.Targets {
		if refs[q.RefID] {
			t.Errorf("%s: two queries are %s", p.Title, q.RefID)
		}
		refs[q.RefID] = true
		if q.Datasource == nil || q.Datasource.UID != "${datasource}" || q.Datasource.Type != "prometheus" {
			t.Errorf("%s asks %v", p.Title, q.Datasource)
		}
		if len(p.Targets) > 1 && q.LegendFormat == "" {
			t.Errorf("%s: %s has no name", p.Title, q.Expr)
		}
		for _, label := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(q.LegendFormat, -1) {
			if !regexp.MustCompile(`by \([^)]*\b` + label[1] + `\b`).MatchString(q.Expr) {
				t.Errorf("%s: the name %s has a label that %s does not", p.Title, q.LegendFormat, q.Expr)
			}
		}
	}
}

// apart checks that no panels overlap or exceed the width.
func apart(t *testing.T, panels []picture) {
	t.Helper()
	for i, p := range panels {
		a := p.GridPos
		if a.W < 1 || a.H < 1 || a.X+a.W > 24 {
			t.Errorf("%s lies at %v", p.Title, a)
		}
		for _, other := range panels[:i] {
			b := other.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s overlaps %s", p.Title, other.Title)
			}
		}
	}
}
