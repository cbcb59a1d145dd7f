// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// rowOf names a row: one key of a job, or all its runs without a key.
type rowOf struct{ namespace, job, key string }

// topRow is what executes and what waits for a key, or without one.
type topRow struct {
	rowOf
	executing, waiting []*v1alpha1.JobRun
	queued             int
	absorbed           int64
}

// busy are the rows of the runs that have not ended, in order.
func busy(runs []v1alpha1.JobRun) []*topRow {
	rows := map[rowOf]*topRow{}
	for i := range runs {
		run := &runs[i]
		name := rowOf{run.Namespace, run.Spec.JobName, run.Spec.ConcurrencyKey}
		r := rows[name]
		if r == nil {
			r = &topRow{rowOf: name}
			rows[name] = r
		}
		r.add(run)
	}
	list := make([]*topRow, 0, len(rows))
	for _, r := range rows {
		if len(r.executing)+len(r.waiting)+r.queued > 0 {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *topRow) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.job, b.job), cmp.Compare(a.key, b.key))
	})
	return list
}

func (r *topRow) add(run *v1alpha1.JobRun) {
	switch run.Status.Phase {
	case v1alpha1.PhaseLeased:
		r.executing = append(r.executing, run)
	case v1alpha1.PhasePending:
		r.waiting = append(r.waiting, run)
	case "":
		if !run.WasAbsorbed() {
			r.queued++
		}
	default:
		return // it has ended
	}
	if run.Status.Coalesced != nil {
		r.absorbed += run.Status.Coalesced.Count
	}
}

// total sums the rows up.
func total(rows []*topRow) string {
	executing, waiting, queued := 0, 0, 0
	for _, r := range rows {
		executing += len(r.executing)
		waiting += len(r.waiting)
		queued += r.queued
	}
	return fmt.Sprintf("%d executing, %d waiting, %d queued", executing, waiting, queued)
}

func topTable(rows []*topRow, now time.Time) *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: columns(
		"Job", "Key", "Executing", "For", "Progress", "Waiting", "For", "Queued", "Absorbed")}
	for _, r := range rows {
		progress := none
		if len(r.executing) == 1 {
			progress = cmp.Or(progressText(r.executing[0].Status.Progress), none)
		}
		table.Rows = append(table.Rows, metav1.TableRow{
			Cells: []any{
				r.job, cmp.Or(r.key, none),
				runNames(r.executing), oldest(r.executing, leasedSince, now), progress,
				runNames(r.waiting), oldest(r.waiting, waitingSince, now),
				r.queued, r.absorbed,
			},
			Object: rowObject(r.namespace, r.job),
		})
	}
	return table
}

// runNames is the name of the one run, or how many there are.
func runNames(runs []*v1alpha1.JobRun) string {
	switch len(runs) {
	case 0:
		return none
	case 1:
		return runs[0].Name
	default:
		return fmt.Sprintf("%d runs", len(runs))
	}
}

// oldest is the age of the run for which it has been so the longest.
func oldest(runs []*v1alpha1.JobRun, since func(*v1alpha1.JobRun) metav1.Time, now time.Time) string {
	if len(runs) == 0 {
		return none
	}
	first := since(runs[0])
	for _, run := range runs[1:] {
		if t := since(run); t.Before(&first) {
			first = t
		}
	}
	return age(&first, now)
}

func leasedSince(run *v1alpha1.JobRun) metav1.Time {
	if l := run.Status.Lease; l != nil && l.AcquireTime != nil {
		return metav1.NewTime(l.AcquireTime.Time)
	}
	return run.CreationTimestamp
}

func waitingSince(run *v1alpha1.JobRun) metav1.Time { return run.CreationTimestamp }
