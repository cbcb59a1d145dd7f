// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// mostShown bounds the violations of a promise that are printed.
const mostShown = 5

// Report is the result of a scenario.
type Report struct {
	Seed     uint64        `json:"seed"`
	Duration time.Duration `json:"duration"`
	Faults   []string      `json:"faults"`
	Plan     []Injection   `json:"plan"`
	// Effects counts how often each fault of the plan found something to break.
	Effects map[string]int `json:"effects"`
	// Strict means that statuses were not allowed to lag.
	Strict bool `json:"strict"`
	// UntilQuiet is the time from the end of the faults until nothing was under way any more.
	UntilQuiet time.Duration  `json:"untilQuiet"`
	Numbers    map[string]int `json:"numbers"`
	Promises   []*promise     `json:"promises"`
}

// Broken returns the names of the promises that did not hold.
func (r *Report) Broken() []string {
	var names []string
	for _, p := range r.Promises {
		if len(p.Violations) > 0 {
			names = append(names, p.Name)
		}
	}
	return names
}

// Untested returns what the scenario did not test, although it was to: promises that were never checked, faults and
// stories that had no effect, and changes of the manager that works.
func (r *Report) Untested() []string {
	var names []string
	for _, p := range r.Promises {
		if p.Checked == 0 {
			names = append(names, p.Name)
		}
	}
	replaced := false
	for _, name := range planned(r.Faults) {
		if r.Effects[name] == 0 {
			names = append(names, name)
		}
		replaced = replaced || faultsByName[name].replaces
	}
	if replaced && r.Numbers["handed over"] == 0 {
		names = append(names, "handed over")
	}
	return names
}

// Violations returns the violations of a promise.
func (r *Report) Violations(name string) []string { return r.promise(name).Violations }

// Print prints the report for people.
func (r *Report) Print(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "\nSEED=%d, faults: %s, strict: %t\n", r.Seed, orNone(r.Faults), r.Strict)
	fmt.Fprintln(table, "promise\tchecked\t\tabout")
	for _, p := range r.Promises {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", p.Name, p.Checked, p.verdict(), p.About)
	}
	table.Flush()
	var numbers []string
	for _, name := range slices.Sorted(maps.Keys(r.Numbers)) {
		numbers = append(numbers, fmt.Sprintf("%s %d", name, r.Numbers[name]))
	}
	var effects []string
	for _, name := range slices.Sorted(maps.Keys(r.Effects)) {
		effects = append(effects, fmt.Sprintf("%s %d", name, r.Effects[name]))
	}
	fmt.Fprintf(out, "faults that had an effect: %s\n", orNone(effects))
	fmt.Fprintf(out, "%s\nquiet %.1fs after the faults\n", strings.Join(numbers, ", "), r.UntilQuiet.Seconds())
	for _, p := range r.Promises {
		p.print(out)
	}
	if untested := r.Untested(); len(untested) > 0 {
		fmt.Fprintf(out, "NOT TESTED: %s\n", strings.Join(untested, ", "))
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (p *promise) verdict() string {
	switch n := len(p.Violations); {
	case n > 0:
		return fmt.Sprintf("BROKEN %d times", n)
	case p.Checked == 0:
		return "not tested"
	default:
		return "held"
	}
}

func (p *promise) print(out io.Writer) {
	for i, violation := range p.Violations {
		if i == mostShown {
			fmt.Fprintf(out, "  ... and %d more\n", len(p.Violations)-mostShown)
			return
		}
		fmt.Fprintf(out, "BROKEN %s: %s\n", p.Name, violation)
	}
}

// count fills the numbers of the report.
func (r *Report) count(h *records, writes []write, all map[types.UID]*life) {
	for i := range h.requests {
		r.Numbers["requests "+string(h.requests[i].Outcome)]++
		if h.requests[i].Gateway != "" {
			r.Numbers["at gateways "+string(h.requests[i].Outcome)]++
		}
	}
	r.Numbers["writes"], r.Numbers["handed over"] = len(writes), h.handedOver
	for i := range h.creates {
		if h.creates[i].Held {
			r.Numbers[fmt.Sprintf("late creates answered %d", h.creates[i].Code)]++
		}
	}
	for _, w := range writes {
		if _, ok := w.New.(*batchv1.Job); ok && w.Old == nil {
			r.Numbers["Jobs"]++
		}
		if displaced(w) {
			r.Numbers["displaced"]++
		}
	}
	for _, l := range all {
		r.countLife(l)
	}
}

// displaced reports whether a write turned a waiting run into the receipt of a run whose lease had expired.
func displaced(w write) bool {
	old, _ := w.Old.(*v1alpha1.JobRun)
	run, _ := w.New.(*v1alpha1.JobRun)
	return old != nil && run != nil && old.Status.Phase == v1alpha1.PhasePending && run.Status.Phase == v1alpha1.PhaseCoalesced
}

func (r *Report) countLife(l *life) {
	status := &l.last.Status
	r.put("I2", 1)
	switch status.Phase {
	case v1alpha1.PhaseCoalesced:
		r.Numbers["coalesced"]++
	case v1alpha1.PhaseIdempotent:
		r.Numbers["idempotent"]++
	default:
		r.Numbers["runs"]++
	}
	if l.first.Spec.Admission != nil && l.first.Spec.Admission.Disposition == v1alpha1.DispositionCoalesced &&
		status.Phase != v1alpha1.PhaseCoalesced && status.Phase != v1alpha1.PhaseCancelled && status.Phase != "" {
		r.Numbers["promoted"]++
	}
	if status.Coalesced != nil {
		r.put("I3", int(status.Coalesced.Count))
	}
	if status.Lease != nil && l.first.Spec.Template != nil {
		r.Numbers["leased to Jobs"]++
	}
}

// WriteJSON writes reports to a file.
func WriteJSON(path string, reports []*Report) error {
	text, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// save writes the records to a file, as JSON lines: the requests of the callers, the creates of Jobs, then the writes.
func (h *records) save(path string) (err error) {
	if path == "" {
		return nil
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closing := file.Close(); err == nil {
			err = closing
		}
	}()
	buffered := bufio.NewWriter(file)
	out := json.NewEncoder(buffered)
	for i := range h.requests {
		if err := out.Encode(h.requests[i]); err != nil {
			return err
		}
	}
	for i := range h.creates {
		if err := out.Encode(h.creates[i]); err != nil {
			return err
		}
	}
	for _, w := range h.writes {
		if err := out.Encode(stored{w.Revision, w.Seen, fmt.Sprintf("%T", w.Object()), w.New == nil, w.Object()}); err != nil {
			return err
		}
	}
	return buffered.Flush()
}

// stored is the JSON line of a write.
type stored struct {
	Revision uint64        `json:"revision"`
	Seen     time.Duration `json:"seen"`
	Kind     string        `json:"kind"`
	Deleted  bool          `json:"deleted,omitempty"`
	Object   any           `json:"object"`
}
