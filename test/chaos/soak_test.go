// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// samplesOf returns n samples of a manager. All measures of sample i have the value value(i).
func samplesOf(n int, value func(i int) float64) []Sample {
	samples := make([]Sample, n)
	for i := range samples {
		v := value(i)
		samples[i] = Sample{At: time.Duration(i) * time.Second, Manager: "manager-1", Values: []float64{v, v, v, v}}
	}
	return samples
}

func TestSteady(t *testing.T) {
	for name, tc := range map[string]struct {
		samples []Sample
		want    string
	}{
		"flat":            {samplesOf(60, func(int) float64 { return 100 }), ""},
		"warm-up":         {samplesOf(60, func(i int) float64 { return min(float64(20*i), 200) }), ""},
		"one peak":        {samplesOf(60, func(i int) float64 { return map[bool]float64{true: 900, false: 100}[i == 50] }), ""},
		"growing":         {samplesOf(60, func(i int) float64 { return float64(20 * i) }), "RSS, MiB of manager-1 grows"},
		"too few samples": {samplesOf(6, func(int) float64 { return 100 }), "soak for longer"},
	} {
		t.Run(name, func(t *testing.T) {
			err := steady(tc.samples)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestPlot(t *testing.T) {
	var out strings.Builder
	if err := Plot(&out, samplesOf(10, func(i int) float64 { return float64(i) })); err != nil {
		t.Fatal(err)
	}
	lines := 0
	decoder := xml.NewDecoder(strings.NewReader(out.String()))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != len(measures) {
		t.Errorf("%d lines for %d measures", lines, len(measures))
	}
}
