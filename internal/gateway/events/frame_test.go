// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"encoding/json"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// heavy has all fields that only some events show.
func heavy(run *v1alpha1.JobRun) {
	run.Labels = map[string]string{"env": "prod"}
	run.Annotations = map[string]string{
		corev1.LastAppliedConfigAnnotation: "{}", v1alpha1.AnnotationTriggeredBy: "alice", "note": "text",
	}
	run.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	run.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(`{"text":"a\nb"}`)}
	run.Spec.Template = &batchv1.JobTemplateSpec{}
	run.Status.Output = &apiextensionsv1.JSON{Raw: []byte(`1`)}
	run.Status.Coalesced = &v1alpha1.CoalescedTriggers{
		Count: 40, Recent: []v1alpha1.CoalescedTrigger{{Name: "r", UID: "uid-r", Input: `{"n":1}`, Labels: map[string]string{"env": "test"}}},
	}
}

func dataOf(t *testing.T, e *event) Data {
	t.Helper()
	kind, text, _ := strings.Cut(strings.TrimSuffix(string(e.frame), "\n"), "\ndata: ")
	mustEqual(t, "kind", kind, "event: "+string(e.kind))
	mustEqual(t, "line breaks in the data", strings.Count(text, "\n"), 0)
	var data Data
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEncodeShowsWhatAnEventIsAbout(t *testing.T) {
	run := makeRun("a", heavy)
	for kind, want := range map[jobrun.EventType]struct{ input, output bool }{
		jobrun.EventTrigger:  {input: true},
		jobrun.EventLeased:   {},
		jobrun.EventComplete: {output: true},
		jobrun.EventDelete:   {},
	} {
		e, err := encode(jobrun.Event{Type: kind, Run: run, Count: 1})
		mustEqual(t, "error", err, nil)
		data := dataOf(t, e)
		mustEqual(t, "type", data.Type, kind)
		mustEqual(t, "kind of the object", data.Run.APIVersion+" "+data.Run.Kind, "batch.jobrun.dev/v1alpha1 JobRun")
		mustEqual(t, string(kind)+" has the input", data.Run.Spec.Input != nil, want.input)
		mustEqual(t, string(kind)+" has the output", data.Run.Status.Output != nil, want.output)
		mustEqual(t, "template", data.Run.Spec.Template, nil)
		mustEqual(t, "managers", len(data.Run.ManagedFields), 0)
		mustEqual(t, "absorbed", data.Run.Status.Coalesced.Count, 40)
		mustEqual(t, "recent", len(data.Run.Status.Coalesced.Recent), 0)
	}
	mustEqual(t, "the state stays as it was", len(run.Status.Coalesced.Recent), 1)
}

func TestEncodeSkipped(t *testing.T) {
	for text, want := range map[string]struct {
		input string
		cut   bool
	}{
		``:            {},
		`{"org":"a"}`: {input: `{"org":"a"}`},
		`{"org":"a`:   {input: `"{\"org\":\"a"`, cut: true},
	} {
		skipped := &v1alpha1.CoalescedTrigger{Name: "r", UID: "uid-r", Input: text, Labels: map[string]string{"env": "test"}}
		e, err := encode(jobrun.Event{Type: jobrun.EventCoalesced, Run: makeRun("a"), Skipped: skipped, Count: 1})
		mustEqual(t, "error", err, nil)
		data := dataOf(t, e)
		mustEqual(t, "receipt", *data.Receipt, v1alpha1.ObjectReference{Name: "r", UID: "uid-r"})
		input := ""
		if data.SkippedInput != nil {
			input = string(data.SkippedInput.Raw)
		}
		mustEqual(t, "skippedInput of "+text, input, want.input)
		mustEqual(t, "skippedInputCut of "+text, data.SkippedInputCut, want.cut)
		mustEqual(t, "skippedLabels", data.SkippedLabels["env"], "test")
	}
}

func TestSlim(t *testing.T) {
	waiting := makeRun("a", heavy)
	slim(waiting)
	mustEqual(t, "a run may still be displaced, with its input", waiting.InputText() != "", true)
	mustEqual(t, "output", waiting.Status.Output, nil)
	mustEqual(t, "template", waiting.Spec.Template, nil)
	mustEqual(t, "recent", waiting.Status.Coalesced.Recent[0].Input, "")
	mustEqual(t, "annotations", len(waiting.Annotations), 1)
	mustEqual(t, "user", waiting.Annotations[v1alpha1.AnnotationTriggeredBy], "alice")
	done := makeRun("b", heavy, ended(v1alpha1.PhaseCompleted))
	slim(done)
	mustEqual(t, "input of an ended run", done.InputText(), "")
	mustEqual(t, "job", done.Spec.JobName, "sync")
	mustEqual(t, "phase", done.Status.Phase, v1alpha1.PhaseCompleted)
	mustEqual(t, "absorbed", done.Status.Coalesced.Recent[0].UID, "uid-r")
	mustEqual(t, "labels", done.Labels["env"], "prod")
}

// Of the triggers that a JobRun stands for, only their number is kept, which the events of a receipt have.
func TestSlimOfSharedJobRuns(t *testing.T) {
	shared := func(run *v1alpha1.JobRun) {
		run.Spec.Represents = &v1alpha1.Represents{Count: 40, Recent: []v1alpha1.RepresentedTrigger{{User: "alice"}}}
	}
	for _, run := range []*v1alpha1.JobRun{makeRun("a", shared), makeRun("r", shared, receipt(makeRun("a")))} {
		before := weight(run)
		slim(run)
		mustEqual(t, "count", run.Represented(), int64(40))
		mustEqual(t, "recent", len(run.Spec.Represents.Recent), 0)
		mustEqual(t, "its weight is less", weight(run) < before-200, true)
	}
}

// What is kept of a long input tells that it was cut.
func TestSlimCutsLongInputs(t *testing.T) {
	for name, tc := range map[string]struct {
		raw  string
		kept int
		cut  bool
	}{
		"short":         {`"` + strings.Repeat("x", maxKeptInput-2) + `"`, maxKeptInput, false},
		"long":          {`"` + strings.Repeat("x", maxKeptInput-1) + `"`, maxKeptInput, true},
		"a long number": {strings.Repeat("1", maxKeptInput+1), 0, false},
	} {
		run := makeRun("a", func(run *v1alpha1.JobRun) { run.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(tc.raw)} })
		slim(run)
		mustEqual(t, name+": kept", len(run.InputText()), tc.kept)
		_, cut := skippedInput(run.InputText())
		mustEqual(t, name+": cut", cut, tc.cut)
	}
}
