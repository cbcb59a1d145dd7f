// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is one row of the table.
type Result struct {
	// Row is the name of the row.
	Row string `json:"row"`
	// What describes the measurement. Against describes what it is compared to, if anything.
	What    string `json:"what"`
	Against string `json:"against,omitempty"`
	// Unit is the unit of Ours and Theirs.
	Unit   string   `json:"unit"`
	Ours   Summary  `json:"ours"`
	Theirs *Summary `json:"theirs,omitempty"`
	// Value is the value that the goal is about.
	Value   Summary `json:"value"`
	Goal    Goal    `json:"goal"`
	Verdict Verdict `json:"verdict,omitempty"`
}

// compared completes a row whose value combines both sides, round by round.
func compared(r Result, ours, theirs []float64, combine func(ours, theirs []float64) []float64) Result {
	against := summarize(theirs)
	r.Ours, r.Theirs, r.Value = summarize(ours), &against, summarize(combine(ours, theirs))
	r.Verdict = r.Goal.judge(r.Value)
	return r
}

// alone completes a row that is only compared to its goal.
func alone(r Result, ours []float64) Result {
	r.Ours = summarize(ours)
	r.Value = r.Ours
	r.Verdict = r.Goal.judge(r.Value)
	return r
}

// Report is the result of one run of the benchmark.
type Report struct {
	Time     time.Time `json:"time"`
	Duration string    `json:"duration"`
	CPUs     int       `json:"cpus"`
	Go       string    `json:"go"`
	Rounds   int       `json:"rounds"`
	Scale    float64   `json:"scale"`
	Results  []Result  `json:"results"`
}

func newReport(o Options) *Report {
	return &Report{Time: time.Now(), CPUs: runtime.NumCPU(), Go: runtime.Version(), Rounds: o.Rounds, Scale: o.Scale}
}

// Broken returns the names of the rows whose promise is broken.
func (r *Report) Broken() []string {
	var broken []string
	for _, result := range r.Results {
		if result.Verdict == Broken {
			broken = append(broken, result.Row)
		}
	}
	return broken
}

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROW\tMEASURED\tOURS\tAGAINST\tVALUE (MIN TO MAX)\tGOAL\t")
	for _, result := range r.Results {
		fmt.Fprintln(table, strings.Join(result.cells(), "\t")+"\t")
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d rounds, scale %s, %d CPUs, %s, took %s\n", r.Rounds, short(r.Scale), r.CPUs, r.Go, r.Duration)
	return err
}

func (r Result) cells() []string {
	against := r.Against
	if r.Theirs != nil {
		against = fmt.Sprintf("%s %s", short(r.Theirs.Median), r.Against)
	}
	goal := r.Goal.String()
	if r.Verdict != None {
		goal += ": " + string(r.Verdict)
	}
	return []string{r.Row, r.What, short(r.Ours.Median) + " " + r.Unit, against, r.Value.String(), goal}
}

// WriteMarkdown writes the two tables of docs/performance.md to a file: the results, and the arithmetic with them.
func (r *Report) WriteMarkdown(file string) error {
	rows := [][]string{{"row", "measured", "ours", "against", "value (least to most)", "goal"}}
	for _, result := range r.Results {
		cells := result.cells()
		cells[0] = "`" + cells[0] + "`"
		if result.Verdict == Missed || result.Verdict == Broken {
			cells[5] = result.Goal.String() + ": **" + string(result.Verdict) + "**"
		}
		rows = append(rows, cells)
	}
	return write(file, []byte(markdown(rows)+"\n"+markdown(scaleRows(r.Results))))
}

// markdown returns a table. The first row is its head.
func markdown(rows [][]string) string {
	var text strings.Builder
	for i, row := range rows {
		fmt.Fprintln(&text, "| "+strings.Join(row, " | ")+" |")
		if i == 0 {
			fmt.Fprintln(&text, strings.Repeat("|---", len(row))+"|")
		}
	}
	return text.String()
}

// WriteJSON writes the report to a file, as JSON.
func (r *Report) WriteJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return write(file, append(text, '\n'))
}

func write(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
