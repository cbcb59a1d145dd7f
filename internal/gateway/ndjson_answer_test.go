// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway/group"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// Each line is the JSON of its own LineAnswer, whatever the lines before had.
func TestLineText(t *testing.T) {
	stored := func(name string) *v1alpha1.JobRun {
		return &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.JobRunSpec{Admission: &v1alpha1.Admission{KeyVersion: "7"}}}
	}
	answer := func(run *v1alpha1.JobRun, disposition v1alpha1.Disposition) group.Answer {
		return group.Answer{
			TriggerResult: jobrun.TriggerResult{JobRun: run, Disposition: disposition, Run: jobrun.RunIdentity{Name: "first"}},
			Warnings:      []string{`a "warning" about <` + run.Name + `>`},
		}
	}
	a, b := stored("a"), stored("b")
	var text lineText
	for i, line := range []answeredLine{
		{triggered: answer(a, v1alpha1.DispositionCreated)},
		{triggered: answer(a, v1alpha1.DispositionCoalesced)},
		{triggered: answer(a, v1alpha1.DispositionCoalesced)},
		{err: badRequest("no")},
		{err: errors.New("lost")},
		{triggered: answer(a, v1alpha1.DispositionCoalesced)},
		{triggered: answer(b, v1alpha1.DispositionCoalesced)},
		{triggered: answer(a, v1alpha1.DispositionCoalesced)},
	} {
		line.number = i + 1
		want := LineAnswer{Line: i + 1}
		if line.err != nil {
			status := statusOf(line.err)
			want.Code, want.Status = int(status.Code), &status
		} else {
			own := answerOf(line.triggered)
			want.Code, want.Answer = codeOf(line.triggered.Disposition), &own
		}
		wanted, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := text.encode(line); err != nil || string(got) != string(wanted)+"\n" {
			t.Errorf("line %d: got %s, %v, want %s", i+1, got, err, wanted)
		}
	}
}
