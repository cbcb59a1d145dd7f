// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"bytes"
	"encoding/json"
	"unique"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// trim drops from a state what no event shows.
func trim(run *v1alpha1.JobRun) {
	run.ManagedFields, run.Spec.Template = nil, nil
	delete(run.Annotations, corev1.LastAppliedConfigAnnotation)
}

// maxKeptInput is how many bytes of an input slim keeps.
const maxKeptInput = 4 << 10

// slim drops from a state whose events are encoded what no later event needs. It keeps the begin of the input of a JobRun that
// may still become an absorbed trigger. It keeps no annotation but the user: each gateway has all JobRuns without an outcome
// in memory, and whoever may trigger chooses how large their annotations are.
func slim(run *v1alpha1.JobRun) {
	trim(run)
	run.Annotations = onlyUser(run.Annotations)
	run.Spec.Input = cutInput(run.Spec.Input)
	run.Spec.Represents = onlyCount(run.Spec.Represents)
	run.Status.Output = nil
	if c := run.Status.Coalesced; c != nil {
		for i := range c.Recent {
			c.Recent[i] = v1alpha1.CoalescedTrigger{UID: c.Recent[i].UID}
		}
	}
	if run.HasEnded() || run.IsReceipt() {
		slimEnded(run)
	}
}

// onlyUser returns the annotation that names the user of a trigger.
func onlyUser(annotations map[string]string) map[string]string {
	user, has := annotations[v1alpha1.AnnotationTriggeredBy]
	if !has {
		return nil
	}
	return map[string]string{v1alpha1.AnnotationTriggeredBy: user}
}

// onlyCount returns how many triggers a JobRun stands for, without what describes them.
func onlyCount(represents *v1alpha1.Represents) *v1alpha1.Represents {
	if represents == nil {
		return nil
	}
	return &v1alpha1.Represents{Count: represents.Count}
}

// cutInput returns the first bytes of an input that is too long to keep. They are no JSON, so that an event says that they
// were cut; it returns nil if they are.
func cutInput(input *apiextensionsv1.JSON) *apiextensionsv1.JSON {
	if input == nil || len(input.Raw) <= maxKeptInput {
		return input
	}
	begin := bytes.Clone(input.Raw[:maxKeptInput])
	if json.Valid(begin) { // a long number
		return nil
	}
	return &apiextensionsv1.JSON{Raw: begin}
}

// slimEnded keeps what an event shows of the deletion of a run that was not seen, and what selects that event. There may be
// many such JobRuns, for a long time.
func slimEnded(run *v1alpha1.JobRun) {
	full := *run
	*run = v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:         canonical(full.Namespace),
			Name:              full.Name,
			UID:               full.UID,
			ResourceVersion:   full.ResourceVersion,
			CreationTimestamp: full.CreationTimestamp,
			Labels:            make(map[string]string, len(full.Labels)),
		},
		Spec: v1alpha1.JobRunSpec{JobName: canonical(full.Spec.JobName), ConcurrencyKey: canonical(full.Spec.ConcurrencyKey)},
		Status: v1alpha1.JobRunStatus{
			Phase:          canonical(full.Status.Phase),
			Stored:         full.Status.Stored,
			CompletionTime: full.Status.CompletionTime,
			Coalesced:      full.Status.Coalesced,
		},
	}
	for name, value := range full.Labels {
		run.Labels[canonical(name)] = canonical(value)
	}
	if full.IsReceipt() {
		run.Status.RunRef, run.Spec.Represents = full.Status.RunRef, full.Spec.Represents
	}
}

// canonical makes equal texts share their memory.
func canonical[T ~string](text T) T { return T(unique.Make(string(text)).Value()) }

// weight returns about how many bytes a JobRun takes.
func weight(run *v1alpha1.JobRun) int {
	const overhead, entry = 1500, 200
	size := overhead + len(run.Spec.ConcurrencyKey) + len(run.InputText()) + len(run.Status.Error) + sizeOf(run.Labels) + sizeOf(run.Annotations)
	if run.Status.Output != nil {
		size += len(run.Status.Output.Raw)
	}
	if r := run.Spec.Represents; r != nil {
		for i := range r.Recent {
			size += entry + len(r.Recent[i].User)
			if input := r.Recent[i].Input; input != nil {
				size += len(input.Raw)
			}
		}
	}
	if c := run.Status.Coalesced; c != nil {
		for i := range c.Recent {
			size += entry + len(c.Recent[i].Input) + sizeOf(c.Recent[i].Labels)
		}
	}
	return size
}

// sizeOf returns the bytes of all texts.
func sizeOf(texts map[string]string) int {
	size := 0
	for name, value := range texts {
		size += len(name) + len(value)
	}
	return size
}
