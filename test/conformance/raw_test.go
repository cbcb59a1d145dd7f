// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"errors"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// raw is the surface of the API itself.
type raw struct {
	api       client.WithWatch
	namespace string
}

func (s raw) as(api client.WithWatch) surface { return raw{api, s.namespace} }

func (s raw) trigger(r request) (answer, *refusal) { return s.create(s.object(r)) }

func (s raw) object(r request) *v1alpha1.JobRun {
	return &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: r.name, Labels: r.labels},
		Spec:       r.spec(),
	}
}

func (s raw) create(run *v1alpha1.JobRun) (answer, *refusal) {
	if err := s.api.Create(ctx, run); err != nil {
		return answer{}, rawRefusal(err)
	}
	return answer{run.Name, run.Spec.Admission.Disposition, run.Spec.Admission.RunName}, nil
}

func rawRefusal(err error) *refusal {
	GinkgoHelper()
	var status apierrors.APIStatus
	Expect(errors.As(err, &status)).To(BeTrue(), "%v", err)
	r := &refusal{conflict: apierrors.IsConflict(err), forbidden: apierrors.IsForbidden(err), err: err}
	for _, cause := range ptr.Deref(status.Status().Details, metav1.StatusDetails{}).Causes {
		if r.conflict && cause.Field == "spec.concurrencyKey" {
			r.pending = cause.Message
		}
		r.fields = append(r.fields, cause.Field)
	}
	return r
}

func (s raw) triggerAll(requests ...request) ([]answer, *refusal) {
	id := string(uuid.NewUUID())
	var answers []answer
	for _, r := range requests {
		run := s.object(r)
		run.Spec.Batch = &v1alpha1.BatchMember{ID: id, Size: int32(len(requests)), Leader: requests[0].name}
		a, refused := s.create(run)
		if refused != nil {
			if len(answers) > 0 {
				s.cancel(answers[0].name)
			}
			return nil, refused
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func (s raw) retrigger(name string) (answer, *refusal) {
	of := get(name)
	run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, GenerateName: name + "-"}, Spec: of.Spec}
	run.Spec.IdempotencyKey, run.Spec.Coalesce, run.Spec.Admission, run.Spec.Batch, run.Spec.Cancel = "", "", nil, nil, nil
	return s.create(run)
}

func (s raw) outcome(name string) outcome {
	GinkgoHelper()
	var ended outcome
	Eventually(func() string {
		run := get(name)
		ended = outcome{Run: run.Spec.Admission.RunName, Disposition: run.Spec.Admission.Disposition, Message: run.Status.Error}
		if run.Status.RunRef != nil {
			ended.Run = run.Status.RunRef.Name
		}
		if run.Status.Output != nil {
			ended.Output = string(run.Status.Output.Raw)
		}
		for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionCancelled} {
			if meta.IsStatusConditionTrue(run.Status.Conditions, kind) {
				ended.Phase = kind
			}
		}
		return ended.Phase
	}).ShouldNot(BeEmpty(), "%s has no outcome", name)
	return ended
}

func (s raw) cancel(name string) {
	GinkgoHelper()
	run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	Expect(s.api.Patch(ctx, run, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"cancel":true}}`)))).To(Succeed())
}

// events returns the Kubernetes Events about a run.
func (s raw) events(name, reason string) []eventsv1.Event {
	GinkgoHelper()
	var all eventsv1.EventList
	Expect(s.api.List(ctx, &all, client.InNamespace(s.namespace))).To(Succeed())
	var found []eventsv1.Event
	for _, e := range all.Items {
		if e.Regarding.Name == name && e.Reason == reason {
			found = append(found, e)
		}
	}
	return found
}

func (s raw) triggered(name string) int { return len(s.events(name, "RunTriggered")) }

func (s raw) skipped(name string) []skippedTrigger {
	GinkgoHelper()
	var found []skippedTrigger
	for _, e := range s.events(name, "RunCoalesced") {
		Expect(e.Action).To(Equal("run:coalesced"))
		t := skippedTrigger{Receipt: e.Related.Name}
		t.Input, t.Labels = noteOf(e.Note)
		found = append(found, t)
	}
	return found
}

// noteOf parses the skipped labels and input in the note of a RunCoalesced event.
func noteOf(note string) (input string, labels map[string]string) {
	GinkgoHelper()
	_, text, ok := strings.Cut(note, "skipped labels ")
	Expect(ok).To(BeTrue(), note)
	text, input, ok = strings.Cut(text, ", input ")
	Expect(ok).To(BeTrue(), note)
	Expect(json.Unmarshal([]byte(text), &labels)).To(Succeed(), note)
	return input, labels
}
