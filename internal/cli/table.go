// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/text"
)

// columns defines the columns of a table. A name that begins with '+' shows with -o wide only.
func columns(names ...string) []metav1.TableColumnDefinition {
	definitions := make([]metav1.TableColumnDefinition, len(names))
	for i, name := range names {
		definitions[i] = metav1.TableColumnDefinition{Name: name, Type: "string"}
		if name[0] == '+' {
			definitions[i].Name, definitions[i].Priority = name[1:], 1
		}
	}
	return definitions
}

func row(cells ...any) metav1.TableRow { return metav1.TableRow{Cells: cells} }

// jobRunTable returns the table that kubectl get -o wide prints of a JobRun.
func jobRunTable(run *v1alpha1.JobRun, now time.Time) *metav1.Table {
	s := run.Status
	stands, absorbed, holder, attempts := "", "", "", ""
	if s.RunRef != nil {
		stands = s.RunRef.Name
	} else if run.Spec.Admission != nil {
		stands = run.Spec.Admission.RunName
	}
	if s.Coalesced != nil {
		absorbed = strconv.FormatInt(s.Coalesced.Count, 10)
	}
	if s.Lease != nil {
		holder = s.Lease.HolderIdentity
	}
	if s.Attempts > 0 {
		attempts = strconv.Itoa(int(s.Attempts))
	}
	return &metav1.Table{
		ColumnDefinitions: columns("Name", "Job", "Phase", "Run", "Coalesced", "Age", "Key", "+Holder", "+Attempts", "+Error"),
		Rows: []metav1.TableRow{row(run.Name, run.Spec.JobName, string(s.Phase), stands, absorbed,
			age(&run.CreationTimestamp, now), run.Spec.ConcurrencyKey, holder, attempts, s.Error)},
	}
}

// age returns how long ago a time was, as kubectl prints it.
func age(t *metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(max(now.Sub(t.Time), 0))
}

// none is the text of a cell without a value.
const none = "-"

// keyWidth is the number of columns that a key may take in a table. A key has up to 256 characters.
const keyWidth = 40

// shortKey cuts a long key in the middle, because keys often differ at their ends.
func shortKey(key string) string { return text.Middle(key, keyWidth) }

// rowObject lets a table show the namespace of a row.
func rowObject(namespace, name string) runtime.RawExtension {
	return runtime.RawExtension{Object: &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}}
}
