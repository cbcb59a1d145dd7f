// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// samplesOf returns n samples of each process. Sample i has 10 more requests than the one before. Its other measures have the value
// value(i).
func samplesOf(n int, value func(i int) float64) []Sample {
	var samples []Sample
	for i := range n {
		values := append([]float64{float64(10 * i)}, slices.Repeat([]float64{value(i)}, len(measures)-1)...)
		for p := range managers + gateways {
			samples = append(samples, Sample{At: time.Duration(i) * time.Second, Process: fmt.Sprintf("process-%d", p), Values: values})
		}
	}
	return samples
}

// without returns the samples of all processes but one.
func without(samples []Sample, process string) []Sample {
	return slices.DeleteFunc(samples, func(s Sample) bool { return s.Process == process })
}

// stalled returns the samples with no requests after a time.
func stalled(samples []Sample, after time.Duration) []Sample {
	for i := range samples {
		samples[i].Values[0] = min(samples[i].Values[0], 10*after.Seconds())
	}
	return samples
}

func TestSteady(t *testing.T) {
	for name, tc := range map[string]struct {
		samples []Sample
		want    string
	}{
		"flat":           {samplesOf(60, func(int) float64 { return 100 }), ""},
		"warm-up":        {samplesOf(60, func(i int) float64 { return min(float64(20*i), 200) }), ""},
		"one peak":       {samplesOf(60, func(i int) float64 { return map[bool]float64{true: 900, false: 100}[i == 50] }), ""},
		"growing":        {samplesOf(60, func(i int) float64 { return float64(20 * i) }), "it grows: its median was 600.0 in the middle third, and 1000.0 in the last"},
		"fewer requests": {stalled(samplesOf(60, func(int) float64 { return 100 }), 52*time.Second), ""},
		"stalled": {
			stalled(samplesOf(60, func(int) float64 { return 100 }), 45*time.Second), "it rose by 190 in the middle third, and by 50 in the last",
		},
		"too few samples": {samplesOf(6, func(int) float64 { return 100 }), "soak for longer"},
		"a process too few": {
			without(samplesOf(60, func(int) float64 { return 100 }), "process-2"), "4 processes were sampled, not 5",
		},
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
	if want := len(measures) * (managers + gateways); lines != want {
		t.Errorf("%d lines, not %d", lines, want)
	}
}
