package main

import (
	"cmp"
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	tables "github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// A panel is a panel of the dashboard.
type panel struct {
	title, help string
	draw        drawing // lines by default
	unit        string  // as Grafana names it
	decimals    float64 // of a number; 0 lets Grafana choose
	steps       []step  // the colours of a number
	limits      []float64
	logarithmic bool
	width       uint32 // of 24 columns; 3 for a number
	height      uint32 // 8, and 4 for a number
	queries     []query
	alerts      []string // related alerts: links to their sections
}

type drawing int

const (
	lines drawing = iota
	number
	table
)

// A step is the colour of values from a threshold on.
type step struct {
	color string
	from  float64
}

const (
	green  = "green"
	orange = "orange"
	red    = "red"
)

// build returns the panel with that ID.
func (p panel) build(id uint32) cog.Builder[dashboard.Panel] {
	switch p.draw {
	case number:
		return p.number(id)
	case table:
		return p.table(id)
	default:
		return p.lines(id)
	}
}

func (p panel) lines(id uint32) cog.Builder[dashboard.Panel] {
	b := timeseries.NewPanelBuilder().
		Id(id).Title(p.title).Description(p.help).Datasource(source()).Links(p.links()).
		Span(cmp.Or(p.width, 8)).Height(cmp.Or(p.height, 8)).
		Unit(p.unit).
		LineWidth(1).
		ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().
			DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementBottom).
			ShowLegend(true).Calcs([]string{"lastNotNull", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if p.logarithmic {
		b.ScaleDistribution(common.NewScaleDistributionConfigBuilder().Type(common.ScaleDistributionLog).Log(10))
	} else {
		b.Min(0)
	}
	if len(p.limits) > 0 {
		b.Thresholds(thresholds(limitSteps(p.limits))).
			ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	}
	for i, q := range p.queries {
		b.WithTarget(q.target(ref(i)))
	}
	return b
}

func (p panel) number(id uint32) cog.Builder[dashboard.Panel] {
	b := stat.NewPanelBuilder().
		Id(id).Title(p.title).Description(p.help).Datasource(source()).Links(p.links()).
		Span(cmp.Or(p.width, 3)).Height(cmp.Or(p.height, 4)).
		Unit(p.unit).
		NoValue("–").
		ColorMode(common.BigValueColorModeValue).
		GraphMode(common.BigValueGraphModeArea).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	if p.decimals > 0 {
		b.Decimals(p.decimals)
	}
	steps := p.steps
	if len(steps) == 0 {
		steps = []step{{green, 0}}
	}
	b.Thresholds(thresholds(steps))
	for i, q := range p.queries {
		b.WithTarget(q.target(ref(i)))
	}
	return b
}

func (p panel) table(id uint32) cog.Builder[dashboard.Panel] {
	b := tables.NewPanelBuilder().
		Id(id).Title(p.title).Description(p.help).Datasource(source()).Links(p.links()).
		Span(cmp.Or(p.width, 24)).Height(cmp.Or(p.height, 8)).
		Footer(common.NewTableFooterOptionsBuilder().Show(false).Reducer([]string{"sum"})).
		WithTransformation(dashboard.DataTransformerConfig{
			Id:      "organize",
			Options: map[string]any{"excludeByName": map[string]any{"Time": true, "Value": true}},
		})
	for i, q := range p.queries {
		b.WithTarget(q.target(ref(i)).Instant().Format(prometheus.PromQueryFormatTable))
	}
	return b
}

// ref returns the reference ID of the nth query of a panel.
func ref(n int) string { return string(rune('A' + n)) }

func (p panel) links() []cog.Builder[dashboard.DashboardLink] {
	var links []cog.Builder[dashboard.DashboardLink]
	for _, alert := range p.alerts {
		links = append(links, dashboard.NewDashboardLinkBuilder(alert).
			Type(dashboard.DashboardLinkTypeLink).Url(sectionOf(alert)).TargetBlank(true))
	}
	return links
}

// limitSteps returns thresholds that draw lines at these values.
func limitSteps(limits []float64) []step {
	steps := []step{{"transparent", 0}}
	for i, limit := range limits {
		color := orange
		if i == len(limits)-1 {
			color = red
		}
		steps = append(steps, step{color, limit})
	}
	return steps
}

// thresholds sorts the steps. The lowest also applies to all values below it.
func thresholds(steps []step) cog.Builder[dashboard.ThresholdsConfig] {
	sorted := slices.SortedFunc(slices.Values(steps), func(a, b step) int { return cmp.Compare(a.from, b.from) })
	all := make([]dashboard.Threshold, len(sorted))
	for i, s := range sorted {
		all[i] = dashboard.Threshold{Color: s.color}
		if i > 0 {
			all[i].Value = cog.ToPtr(s.from)
		}
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(all)
}
