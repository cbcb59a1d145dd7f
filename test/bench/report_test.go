// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	report := newReport(Options{Rounds: 2, Scale: 1})
	report.Results = []Result{
		compared(Result{
			Row: "create", What: "creates", Against: "no-op", Unit: "/s", Goal: Goal{Kind: Ratio, AtLeast: 0.95, Promised: true},
		}, []float64{90, 80}, []float64{100, 100}, ratios),
		alone(Result{Row: "writes", What: "writes", Unit: "writes", Goal: Goal{Kind: Count, AtMost: 3, Promised: true}}, []float64{3, 3}),
	}
	var table bytes.Buffer
	if err := report.Print(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"85.0 /s", "100 no-op", "0.85 (0.80 to 0.90)", "at least 0.95: BROKEN", "at most 3.00: reached"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
	if broken := report.Broken(); len(broken) != 1 || broken[0] != "create" {
		t.Errorf("broken: %v", broken)
	}
}

func TestReportJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bin", "bench.json")
	report := newReport(Options{Rounds: 1})
	report.Results = []Result{alone(Result{Row: "writes"}, []float64{3})}
	if err := report.WriteJSON(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var read Report
	if err := json.Unmarshal(text, &read); err != nil || read.Results[0].Value.Median != 3 {
		t.Errorf("%v in %s", err, text)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	err := Options{Rows: []string{"create", "nonsense"}, Scale: -1}.validate()
	for _, want := range []string{`no row "nonsense"`, "create-keyed", "at least 1 round", "scale must be positive"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if err := (Options{Rows: []string{"create"}, Rounds: 1, Scale: 1}).validate(); err != nil {
		t.Error(err)
	}
}

func TestReportMarkdown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.md")
	report := newReport(Options{Rounds: 1})
	report.Results = []Result{alone(Result{Row: "writes", What: "writes of a run", Unit: "writes", Goal: Goal{Kind: Count, AtMost: 3}}, []float64{4})}
	if err := report.WriteMarkdown(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	const want = "| `writes` | writes of a run | 4.00 writes |  | 4.00 | at most 3.00: **missed** |\n"
	if err != nil || !strings.Contains(string(text), "|---|\n"+want) {
		t.Errorf("got %v\n%s\nwant the row\n%s", err, text, want)
	}
}
