// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// Data is the JSON of an event. It is a jobrun.Event.
type Data struct {
	// Type is what happened.
	Type jobrun.EventType `json:"type"`
	// Run is the state of the run that showed the event. It has no template and not the inputs of absorbed triggers. Only a
	// run:trigger has its input, and only a run:complete its output. In a run:delete it is the last state that was seen.
	Run *v1alpha1.JobRun `json:"run"`
	// Generation is the generation of the lease of a run:leased. It is not set if that lease was over before it was seen.
	Generation int64 `json:"generation,omitempty"`
	// Count is how many events this one stands for. It is more than 1 only for a run:coalesced without a receipt, and for a
	// run:leased without a generation.
	Count int64 `json:"count"`
	// Receipt is the receipt of a run:coalesced. It is not set if neither it nor its entry of status.coalesced.recent was
	// seen.
	Receipt *v1alpha1.ObjectReference `json:"receipt,omitempty"`
	// SkippedInput is the input of the absorbed trigger. If SkippedInputCut is set, it is a string: the first bytes of the
	// input's JSON.
	SkippedInput json.RawMessage `json:"skippedInput,omitempty"`
	// SkippedInputCut reports whether the input was cut, because only status.coalesced.recent was seen of it.
	SkippedInputCut bool `json:"skippedInputCut,omitempty"`
	// SkippedLabels are the labels of the absorbed trigger, without those of the operator.
	SkippedLabels map[string]string `json:"skippedLabels,omitempty"`
	// SkippedTime is when the absorbed trigger was created.
	SkippedTime *metav1.Time `json:"skippedTime,omitempty"`
}

// encode makes an event for streams.
func encode(e jobrun.Event) (*event, error) {
	data := Data{Type: e.Type, Run: shown(e), Generation: e.Generation, Count: e.Count}
	encoded := &event{kind: e.Type, run: e.Run.UID, jobName: e.Run.Spec.JobName, labels: e.Run.Labels}
	if skipped := e.Skipped; skipped != nil {
		data.Receipt = &v1alpha1.ObjectReference{Name: skipped.Name, UID: skipped.UID}
		data.SkippedInput, data.SkippedInputCut = skippedInput(skipped.Input)
		data.SkippedLabels, data.SkippedTime = skipped.Labels, skipped.Time
		encoded.skipped = skipped.Labels
	}
	text, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	encoded.frame = frame(string(e.Type), text)
	return encoded, nil
}

// frame returns the lines of an event. JSON has no line breaks, so it takes one line.
func frame(kind string, data []byte) []byte {
	text := make([]byte, 0, len("event: \ndata: \n")+len(kind)+len(data))
	text = append(append(append(text, "event: "...), kind...), "\ndata: "...)
	return append(append(text, data...), '\n')
}

// skippedInput returns the input as JSON, and whether it was cut.
func skippedInput(text string) (json.RawMessage, bool) {
	if text == "" {
		return nil, false
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text), false
	}
	cut, _ := json.Marshal(text) // A string always has a JSON form.
	return cut, true
}

// shown returns the run of an event as streams show it.
func shown(e jobrun.Event) *v1alpha1.JobRun {
	run := *e.Run
	run.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "JobRun"}
	run.ManagedFields = nil
	run.Spec.Template = nil
	if e.Type != jobrun.EventTrigger {
		run.Spec.Input = nil
	}
	if e.Type != jobrun.EventComplete {
		run.Status.Output = nil
	}
	if c := run.Status.Coalesced; c != nil {
		run.Status.Coalesced = &v1alpha1.CoalescedTriggers{Count: c.Count}
	}
	return &run
}
