// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/text"
)

const (
	// toldAlone is how many absorbed triggers of a run have an event each. One series tells of all later ones.
	toldAlone = 5
	// toldLast is how many of the latest triggers the series describes, each in at most toldBytes bytes.
	toldLast  = 4
	toldBytes = 200
)

// tellCoalesced tells that a run absorbed triggers. status is the status of the run after that.
func tellCoalesced(run *v1alpha1.JobRun, receipts []*v1alpha1.JobRun, status v1alpha1.JobRunStatus) []Op {
	total := status.Coalesced.Count
	told := total - represented(receipts)
	var ops []Op
	for _, receipt := range receipts {
		if told += receipt.Represented(); told > toldAlone {
			break
		}
		ops = append(ops, Emit{coalescedEvent(run, receipt)})
	}
	if total > toldAlone {
		ops = append(ops, Emit{coalescedSeries(run, receipts[len(receipts)-1], status.Coalesced)})
	}
	return ops
}

// coalescedEvent tells that a run absorbed a trigger. The note has the input and the labels of the trigger.
func coalescedEvent(run, receipt *v1alpha1.JobRun) Event {
	note := fmt.Sprintf("absorbed trigger %s%s; skipped labels %s, input %s",
		receipt.Name, representsText(receipt.Represented()), text.Cut(labelsText(callersLabels(receipt)), maxNoteBytes/3), inputText(receipt.InputText()))
	event := newEvent(run, EventCoalesced, ActionCoalesced, note)
	event.Related = receipt
	return event
}

// coalescedSeries tells of all triggers that have no event of their own. The note describes the latest ones, and says where
// the others are found.
func coalescedSeries(run, last *v1alpha1.JobRun, counted *v1alpha1.CoalescedTriggers) Event {
	note := &strings.Builder{}
	fmt.Fprintf(note, "absorbed %d triggers; what was skipped is in their receipts and in status.coalesced.recent; latest", counted.Count)
	separator := ": "
	for _, t := range slices.Backward(counted.Recent[max(len(counted.Recent)-toldLast, 0):]) {
		entry := fmt.Sprintf("%s%s input %s", t.Name, representsText(int64(t.Represents)), inputText(t.Input))
		if len(t.Labels) > 0 {
			entry += " labels " + labelsText(t.Labels)
		}
		note.WriteString(separator + text.Cut(entry, toldBytes))
		separator = "; "
	}
	event := newEvent(run, EventCoalesced, ActionCoalesced, note.String())
	event.Related, event.Count = last, counted.Count-toldAlone
	return event
}

// representsText says how many triggers a JobRun stands for; empty if it is one.
func representsText(n int64) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(" for %d triggers", n)
}

func inputText(input string) string { return cmp.Or(input, "null") }

func labelsText(labels map[string]string) string {
	if labels == nil {
		return "{}"
	}
	encoded, err := json.Marshal(labels)
	if err != nil { // no map of strings has one
		return "{}"
	}
	return string(encoded)
}
