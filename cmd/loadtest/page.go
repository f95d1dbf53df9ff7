package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

//go:embed report.html
var reportPage string

var pageTemplate = template.Must(template.New("report").Parse(reportPage))

// page returns the report as a self-contained HTML page.
func (r *Report) page() ([]byte, error) {
	plots := []struct {
		name string
		draw func() (*plot.Plot, error)
	}{
		{"How late deliveries were", r.histogram},
		{"Latency over the run", func() (*plot.Plot, error) {
			return r.lines("ms", map[string]func(Point) float64{
				"p50": func(p Point) float64 { return p.P50 }, "p99": func(p Point) float64 { return p.P99 }})
		}},
		{"Sessions", func() (*plot.Plot, error) {
			return r.lines("", map[string]func(Point) float64{"open": func(p Point) float64 { return float64(p.Sessions) }})
		}},
		{"New sessions and deliveries a second", func() (*plot.Plot, error) {
			return r.lines("a second", map[string]func(Point) float64{
				"opened":     func(p Point) float64 { return float64(p.Opened) },
				"refused":    func(p Point) float64 { return float64(p.Refused) },
				"deliveries": func(p Point) float64 { return float64(p.Deliveries) }})
		}},
		{"Memory of the server", func() (*plot.Plot, error) {
			return r.lines("MB", map[string]func(Point) float64{"RSS": func(p Point) float64 { return float64(p.RSS) / 1e6 }})
		}},
	}
	type drawn struct {
		Name string
		SVG  template.HTML
	}
	data := struct {
		*Report
		Text  string
		Plots []drawn
	}{Report: r, Text: r.text()}
	for _, p := range plots {
		made, err := p.draw()
		if err != nil {
			return nil, err
		}
		svg, err := render(made)
		if err != nil {
			return nil, err
		}
		data.Plots = append(data.Plots, drawn{p.name, svg})
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, data)
	return b.Bytes(), err
}

// render draws a plot as an SVG element.
func render(p *plot.Plot) (template.HTML, error) {
	canvas := vgsvg.New(20*vg.Centimeter, 8*vg.Centimeter)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	_, svg, _ := bytes.Cut(b.Bytes(), []byte("?>")) // a page has no XML declaration within
	if svg == nil {
		svg = b.Bytes()
	}
	return template.HTML(svg), nil // the labels are ours
}

// histogram plots the deliveries by latency, up to the 99.9th percentile.
func (r *Report) histogram() (*plot.Plot, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "ms", "deliveries"
	if r.all.TotalCount() == 0 {
		return p, nil
	}
	const bars = 60
	last := ms(r.all.ValueAtQuantile(99.9))
	bins := make([]plotter.HistogramBin, bars)
	for n := range bins {
		bins[n].Min, bins[n].Max = last*float64(n)/bars, last*float64(n+1)/bars
	}
	for _, b := range r.all.Distribution() {
		if at := int(ms(b.From) / last * bars); at < bars {
			bins[at].Weight += float64(b.Count)
		}
	}
	p.Add(&plotter.Histogram{Bins: bins, Width: last / bars, FillColor: color.RGBA{R: 47, G: 111, B: 214, A: 255},
		LineStyle: plotter.DefaultLineStyle})
	return p, nil
}

var colors = map[string]color.Color{
	"p50": color.RGBA{47, 111, 214, 255}, "p99": color.RGBA{214, 80, 47, 255},
	"open": color.RGBA{47, 111, 214, 255}, "RSS": color.RGBA{47, 111, 214, 255}, "opened": color.RGBA{40, 150, 80, 255},
	"refused":    color.RGBA{214, 80, 47, 255},
	"deliveries": color.RGBA{47, 111, 214, 255},
}

// lines plots values over the seconds of the run.
func (r *Report) lines(unit string, values map[string]func(Point) float64) (*plot.Plot, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "s", unit
	p.Y.Min, p.Legend.Top = 0, true
	for _, name := range []string{"p50", "p99", "open", "RSS", "opened", "refused", "deliveries"} {
		value, ok := values[name]
		if !ok {
			continue
		}
		points := make(plotter.XYs, len(r.Timeline))
		for n, t := range r.Timeline {
			points[n] = plotter.XY{X: t.Second, Y: value(t)}
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.Color = colors[name]
		p.Add(line)
		p.Legend.Add(name, line)
	}
	return p, nil
}
