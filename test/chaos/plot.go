// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// The layout of a plot: panels below each other, in pixels.
const (
	panelWidth, panelHeight = 900, 150
	marginLeft, marginTop   = 70, 40
	panelGap                = 40
)

var colours = []string{"#1b6ca8", "#d1495b", "#2a9d4a", "#8f5fbf", "#c58b00", "#444444"}

var plotTemplate = template.Must(template.New("plot").Parse(`<svg xmlns="http://www.w3.org/2000/svg" ` +
	`width="{{.Width}}" height="{{.Height}}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
{{range .Legend}}<text x="{{.X}}" y="20" fill="{{.Colour}}">{{.Text}}</text>
{{end}}{{range .Panels}}<g transform="translate({{.X}},{{.Y}})">
<text x="0" y="-8" font-weight="bold">{{.Title}}</text>
<rect width="{{.Width}}" height="{{.Height}}" fill="none" stroke="#bbb"/>
<text x="-8" y="10" text-anchor="end">{{.Most}}</text>
<text x="-8" y="{{.Height}}" text-anchor="end">0</text>
<text x="{{.Width}}" y="{{.Below}}" text-anchor="end">{{.Until}}</text>
{{range .Lines}}<polyline fill="none" stroke="{{.Colour}}" points="{{.Points}}"/>
{{end}}</g>
{{end}}</svg>
`))

type plot struct {
	Width, Height int
	Legend        []legend
	Panels        []panel
}

type legend struct {
	X            int
	Colour, Text string
}

type panel struct {
	X, Y, Width, Height, Below int
	Title, Most, Until         string
	Lines                      []line
}

type line struct{ Colour, Points string }

// Plot writes an SVG with a panel for each measure, and in it a line for each process.
func Plot(out io.Writer, samples []Sample) error {
	series := byProcess(samples)
	processes := slices.Sorted(maps.Keys(series))
	p := plot{Width: marginLeft + panelWidth + 20, Height: marginTop + len(measures)*(panelHeight+panelGap)}
	for i, name := range processes {
		p.Legend = append(p.Legend, legend{X: marginLeft + 120*i, Colour: colourOf(i), Text: name})
	}
	for i := range measures {
		p.Panels = append(p.Panels, panelOf(i, samples, series, processes))
	}
	return plotTemplate.Execute(out, p)
}

func colourOf(i int) string { return colours[i%len(colours)] }

func panelOf(value int, samples []Sample, series map[string][]Sample, processes []string) panel {
	var most float64
	var until time.Duration
	for _, one := range samples {
		most, until = max(most, one.Values[value]), max(until, one.At)
	}
	p := panel{
		X: marginLeft, Y: marginTop + 20 + value*(panelHeight+panelGap), Width: panelWidth, Height: panelHeight, Below: panelHeight + 14,
		Title: measures[value].title, Most: fmt.Sprintf("%.4g", most), Until: until.Round(time.Second).String(),
	}
	for i, name := range processes {
		var points []string
		for _, one := range series[name] {
			x := panelWidth * float64(one.At) / max(float64(until), 1)
			y := panelHeight * (1 - one.Values[value]/max(most, 1e-9))
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
		}
		p.Lines = append(p.Lines, line{Colour: colourOf(i), Points: strings.Join(points, " ")})
	}
	return p
}
