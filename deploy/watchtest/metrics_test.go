package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// scraped are the labels that a scrape adds.
var scraped = []string{"namespace", "job", "instance", "pod"}

// A metric is a row of docs/metrics.md: its labels, and their values where the document lists
// them.
type metric struct {
	kind   string
	labels map[string][]string
}

// documented returns the metrics by name. Families such as go_* have the star in their name.
func documented(t *testing.T) map[string]metric {
	t.Helper()
	all := map[string]metric{}
	for _, line := range strings.Split(read(t, metricsFile), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 6 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		m := metric{kind: strings.TrimSpace(cells[2]), labels: map[string][]string{}}
		for _, part := range strings.Split(cells[3], ";") {
			words := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(part, -1)
			name, _, says := strings.Cut(part, ":")
			name = strings.Trim(strings.TrimSpace(name), "`")
			if !says || len(words) == 0 || words[0][1] != name {
				continue // goes on about the label before
			}
			m.labels[name] = nil
			if list := regexp.MustCompile("^`[^`]+`: (`[^`]+`(, )?)+$").FindString(strings.TrimSpace(part)); list != "" {
				for _, w := range words[1:] {
					m.labels[name] = append(m.labels[name], w[1])
				}
			}
		}
		all[strings.Trim(strings.TrimSpace(cells[1]), "`")] = m
	}
	if len(all) < 70 {
		t.Fatalf("only %d metrics are documented", len(all))
	}
	return all
}

// An expression is PromQL with the panel or alert that it belongs to.
type expression struct{ of, text string }

func expressions(t *testing.T) []expression {
	t.Helper()
	var all []expression
	for _, r := range readRules(t) {
		all = append(all, expression{r.Alert + r.Record, r.Expr})
	}
	b := readBoard(t)
	for _, p := range b.pictures() {
		for _, q := range p.Targets {
			all = append(all, expression{"the panel " + p.Title, q.Expr})
		}
	}
	for _, a := range b.Annotations.List {
		if a.Expr != "" {
			all = append(all, expression{"the annotation " + a.Name, a.Expr})
		}
	}
	for _, v := range b.Templating.List {
		query, _ := v.Query.(map[string]any)
		text, _ := query["query"].(string)
		if inner := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(text); inner != nil {
			all = append(all, expression{"the variable " + v.Name, inner[1]})
		} else if v.Type == "query" {
			t.Errorf("the variable %s asks %q", v.Name, text)
		}
	}
	return all
}

// used returns the metrics of an expression.
func used(t *testing.T, e expression, docs map[string]metric) (names []string) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(strings.ReplaceAll(e.text, "$__rate_interval", "1m"))
	if err != nil {
		t.Errorf("%s: %v in %s", e.of, err, e.text)
		return nil
	}
	var has []string // labels of the expression's metrics
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			name, m := find(t, e, s, docs)
			names = append(names, name)
			for label := range m.labels {
				has = append(has, label)
			}
			for _, matcher := range s.LabelMatchers {
				m.check(t, e, matcher)
			}
		}
		return nil
	})
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok {
			for _, label := range a.Grouping {
				if !slices.Contains(has, label) && !slices.Contains(scraped, label) {
					t.Errorf("%s groups by %s, which no metric of it has: %s", e.of, label, e.text)
				}
			}
		}
		return nil
	})
	return names
}

// find returns the metric of a selector: documented, recorded by a rule, or made by Prometheus.
func find(t *testing.T, e expression, s *parser.VectorSelector, docs map[string]metric) (string, metric) {
	t.Helper()
	any := map[string][]string{}
	switch s.Name {
	case "up":
		return s.Name, metric{labels: any}
	case "ALERTS":
		for _, label := range []string{"alertname", "alertstate", "severity", "reason"} {
			any[label] = nil
		}
		return s.Name, metric{labels: any}
	}
	if m, ok := docs[s.Name]; ok {
		return s.Name, m // a histogram: the native one
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		name, ok := strings.CutSuffix(s.Name, suffix)
		if m, known := docs[name]; ok && known && strings.HasPrefix(m.kind, "histogram") {
			with := metric{m.kind, map[string][]string{}}
			for label, values := range m.labels {
				with.labels[label] = values
			}
			if suffix == "_bucket" {
				with.labels["le"] = nil
			}
			return name, with
		}
	}
	for _, r := range readRules(t) {
		if r.Record == s.Name {
			return s.Name, metric{labels: any}
		}
	}
	for name, m := range docs {
		if family, ok := strings.CutSuffix(name, "*"); ok && strings.HasPrefix(s.Name, family) {
			m.labels["quantile"] = nil // of Go's summaries
			return s.Name, m
		}
	}
	t.Errorf("%s uses %s, which is not documented", e.of, s.Name)
	return s.Name, metric{labels: any}
}

// check compares a matcher with the documented labels and values of the metric.
func (m metric) check(t *testing.T, e expression, on *labels.Matcher) {
	t.Helper()
	if on.Name == labels.MetricName || slices.Contains(scraped, on.Name) {
		return
	}
	values, known := m.labels[on.Name]
	if !known {
		t.Errorf("%s selects by %s, a label that the metric does not have: %s", e.of, on.Name, e.text)
		return
	}
	if values == nil {
		return
	}
	for _, value := range strings.Split(on.Value, "|") {
		if !slices.Contains(values, value) {
			t.Errorf("%s selects %s, which is none of %v", e.of, on, values)
		}
	}
}

// Dashboard and alerts use only documented metrics, labels and label values, and every metric is
// used.
func TestOnlyDocumentedMetricsAreUsed(t *testing.T) {
	docs := documented(t)
	seen := map[string]bool{}
	for _, e := range expressions(t) {
		for _, name := range used(t, e, docs) {
			seen[name] = true
		}
	}
	for name := range docs {
		if strings.HasPrefix(name, "shelfcast_") && !seen[name] {
			t.Errorf("%s is on no panel and in no alert", name)
		}
	}
	for _, r := range readRules(t) {
		if r.Record != "" && !seen[r.Record] {
			t.Errorf("%s is recorded, but not used", r.Record)
		}
	}
}
