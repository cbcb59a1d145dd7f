// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"encoding/json"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// Data is the JSON of an event. It is a jobrun.Event.
type Data struct {
	Type       jobrun.EventType          `json:"type" doc:"What happened: run:trigger, run:coalesced, run:leased, run:progress, run:complete, run:fail, run:cancel or run:delete."`
	Run        *v1alpha1.JobRun          `json:"run" doc:"The state of the run that showed the event, which may be later than the event. It has no template and not the entries of status.coalesced.recent. Only a run:trigger has the inputs, and only a run:complete the output. In a run:delete it is the last state, or if the deletion itself was not seen, only what names and selects the run, and its phase. In a run:coalesced of a run that no longer exists it has only the namespace, name, uid and jobName."`
	Generation int64                     `json:"generation,omitempty" doc:"The generation of the lease of a run:leased. Missing if that lease was over before it was seen."`
	Count      int64                     `json:"count" doc:"How many events this one stands for. It is more than 1 only for a run:coalesced whose receipt stands for several triggers or that has no receipt, and for a run:leased without a generation."`
	Receipt    *v1alpha1.ObjectReference `json:"receipt,omitempty" crd:"status.runRef" doc:"The receipt of a run:coalesced. Missing if neither it nor its entry of status.coalesced.recent was seen."`

	SkippedInput    *apiextensionsv1.JSON `json:"skippedInput,omitempty" doc:"The input of the absorbed trigger, or of the first one that the receipt stands for: any JSON value. If skippedInputCut is true, it is a string, the first bytes of the JSON of that input."`
	SkippedInputCut bool                  `json:"skippedInputCut,omitempty" doc:"The input was cut: it has more than 4 KiB, or only status.coalesced.recent was seen of it."`
	SkippedLabels   map[string]string     `json:"skippedLabels,omitempty" doc:"The labels of the absorbed trigger, without those of the operator."`
	SkippedTime     *metav1.Time          `json:"skippedTime,omitempty" doc:"When the absorbed trigger was created."`
}

// encode makes an event for streams.
func encode(e jobrun.Event) (*event, error) {
	data := Data{Type: e.Type, Run: shown(e), Generation: e.Generation, Count: e.Count}
	made := &event{kind: e.Type, run: e.Run.UID, jobName: e.Run.Spec.JobName, labels: e.Run.Labels}
	if skipped := e.Skipped; skipped != nil {
		data.Receipt = &v1alpha1.ObjectReference{Name: skipped.Name, UID: skipped.UID}
		data.SkippedInput, data.SkippedInputCut = skippedInput(skipped.Input)
		data.SkippedLabels, data.SkippedTime = skipped.Labels, skipped.Time
		if made.skipped = skipped.Labels; made.skipped == nil {
			made.skipped = map[string]string{}
		}
	}
	text, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	made.frame = frame(string(e.Type), text)
	return made, nil
}

// frame returns the lines of an event. JSON has no line breaks, so it takes one line.
func frame(kind string, data []byte) []byte {
	text := make([]byte, 0, len("event: \ndata: \n")+len(kind)+len(data))
	text = append(append(append(text, "event: "...), kind...), "\ndata: "...)
	return append(append(text, data...), '\n')
}

// skippedInput returns the input as JSON, and whether it was cut.
func skippedInput(text string) (*apiextensionsv1.JSON, bool) {
	if text == "" {
		return nil, false
	}
	if json.Valid([]byte(text)) {
		return &apiextensionsv1.JSON{Raw: []byte(text)}, false
	}
	return &apiextensionsv1.JSON{Raw: encoded(text)}, true
}

// shown returns the run of an event as streams show it.
func shown(e jobrun.Event) *v1alpha1.JobRun {
	run := *e.Run
	run.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "JobRun"}
	run.ManagedFields = nil
	run.Spec.Template = nil
	if e.Type != jobrun.EventTrigger {
		run.Spec.Input = nil
		if r := run.Spec.Represents; r != nil {
			run.Spec.Represents = &v1alpha1.Represents{Count: r.Count}
		}
	}
	if e.Type != jobrun.EventComplete {
		run.Status.Output = nil
	}
	if c := run.Status.Coalesced; c != nil {
		run.Status.Coalesced = &v1alpha1.CoalescedTriggers{Count: c.Count}
	}
	return &run
}
