// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
)

// page is what `describe` prints: fields, and indented tables.
type page struct {
	to  *tabwriter.Writer
	now time.Time
	// last is how many rows latest prints; 0 means all.
	last int
}

func newPage(out io.Writer, now time.Time) *page {
	return &page{to: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0), now: now}
}

// field prints a field that has a value.
func (p *page) field(name, value string) {
	if value != "" {
		fmt.Fprintf(p.to, "%s:\t%s\n", name, oneLine(value))
	}
}

// table prints a table under a heading, with columns of its own.
func (p *page) table(heading string, names []string, rows [][]string) {
	_ = p.to.Flush() // the last flush returns the error
	fmt.Fprintf(p.to, "%s:\n", heading)
	for _, row := range append([][]string{names}, rows...) {
		for i := range row {
			row[i] = cmp.Or(oneLine(row[i]), none)
		}
		fmt.Fprintln(p.to, "  "+strings.Join(row, "\t"))
	}
	_ = p.to.Flush()
}

// oneLine keeps text of others from breaking the layout or the terminal.
func oneLine(text string) string {
	return printers.EscapeTerminal(strings.NewReplacer("\n", " ", "\t", " ").Replace(text))
}

func (p *page) ago(t *metav1.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format(time.RFC3339), age(t, p.now))
}

func (p *page) agoMicro(t *metav1.MicroTime) string {
	if t.IsZero() {
		return ""
	}
	return p.ago(&metav1.Time{Time: t.Time})
}

// jsonText returns a JSON value, or "".
func jsonText(value *apiextensionsv1.JSON) string {
	if value == nil {
		return ""
	}
	return string(value.Raw)
}

func labelText(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ",")
}
