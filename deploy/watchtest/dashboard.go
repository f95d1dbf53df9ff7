package main

import (
	"encoding/json"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// A row is a title with the panels below it.
type row struct {
	title  string
	folded bool
	panels []panel
}

// runbook is the runbook's path in the repository. The chart replaces it by the URL from its
// values.
const runbook = "docs/runbook.md"

// sectionOf returns the link to the runbook section of an alert.
func sectionOf(alert string) string { return runbook + "#" + strings.ToLower(alert) }

// dashboardJSON returns the dashboard as Grafana imports it.
func dashboardJSON() ([]byte, error) {
	d, err := newDashboard()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

func newDashboard() (dashboard.Dashboard, error) {
	b := dashboard.NewDashboardBuilder("Shelfcast").
		Uid("shelfcast").
		Description("Are the open pages of the shop fresh, and if not, why? The rows are in the order of an edit's way.").
		Tags([]string{"shelfcast"}).
		Refresh("30s").
		Time("now-3h", "now").
		Timezone("browser").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Runbook").Type(dashboard.DashboardLinkTypeLink).Icon("doc").
			Tooltip("For each alert what to look at, and what to do").Url(runbook).TargetBlank(true))
	for _, v := range variables() {
		b.WithVariable(v)
	}
	for _, a := range annotations() {
		b.Annotation(a)
	}
	id := uint32(0)
	next := func() uint32 { id++; return id }
	for _, r := range rows() {
		built := dashboard.NewRowBuilder(r.title).Id(next())
		if r.folded {
			for _, p := range r.panels {
				built.WithPanel(p.build(next()))
			}
			b.WithRow(built)
			continue
		}
		b.WithRow(built)
		for _, p := range r.panels {
			b.WithPanel(p.build(next()))
		}
	}
	return b.Build()
}

// source returns the data source that the variable selects.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

// variables returns the dashboard's variables. "All" namespaces match series without the label
// too, as some scrapes do not add it. There is no "all" for jobs, because those of other programs
// also have go_ and process_ metrics.
func variables() []cog.Builder[dashboard.VariableModel] {
	values := func(name, label, query string) *dashboard.QueryVariableBuilder {
		return dashboard.NewQueryVariableBuilder(name).
			Label(label).
			Datasource(source()).
			Query(dashboard.StringOrMap{Map: map[string]any{"query": query, "refId": name}}).
			Definition(query).
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
			Sort(dashboard.VariableSortAlphabeticalAsc).
			Multi(true).
			IncludeAll(true).
			Current(dashboard.VariableOption{
				Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
				Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
			})
	}
	return []cog.Builder[dashboard.VariableModel]{
		dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus"),
		values("namespace", "Namespace", "label_values(shelfcast_sessions, namespace)").AllValue(".*"),
		values("job", "Job", `label_values(shelfcast_sessions{namespace=~"$namespace"}, job)`),
		values("instance", "Instance",
			`label_values(shelfcast_sessions{namespace=~"$namespace",job=~"$job"}, instance)`).AllValue(".*"),
	}
}

// annotations mark in all graphs when alerts fired and instances started.
func annotations() []cog.Builder[dashboard.AnnotationQuery] {
	marks := func(name, color string, shown bool, q query) *dashboard.AnnotationQueryBuilder {
		return dashboard.NewAnnotationQueryBuilder().
			Name(name).
			Datasource(source()).
			Enable(shown).
			IconColor(color).
			Expr(q.promQL()).
			TitleFormat(name).
			TextFormat(q.legend).
			Step("60s")
	}
	return []cog.Builder[dashboard.AnnotationQuery]{
		marks("Alerts", "red", true,
			query{"{{alertname}} {{instance}}", `ALERTS{alertname=~"Shelfcast.+",alertstate="firing"}`}),
		marks("Starts", "blue", true, query{instance, `time() - process_start_time_seconds{INSTANCES} < 60`}),
	}
}

// target returns the query for a panel.
func (q query) target(ref string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().
		RefId(ref).
		Datasource(source()).
		Expr(q.promQL()).
		LegendFormat(q.legend).
		EditorMode(prometheus.QueryEditorModeCode).
		Range()
}
