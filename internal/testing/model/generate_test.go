// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// This file draws the valid and invalid objects of the differential test, and changes to them. All random
// values of a change are drawn before it is made, so that both sides get the same change.

var someTime = metav1.Unix(1000000000, 0)

func (d *differential) pick(label string, n int) int {
	return rapid.IntRange(0, n-1).Draw(d.T, label)
}

// newObject draws an object to create.
func (d *differential) newObject(kind string) client.Object {
	var obj client.Object
	switch kind {
	case "run":
		obj = d.newRun()
	case "key":
		obj = d.newKey()
	case "job":
		obj = d.newJob()
	case "pod":
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: containers()}}
		if d.pick("bound", 2) == 0 {
			pod.Spec.NodeName = "node"
		}
		obj = pod
	case "lease":
		obj = &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
			HolderIdentity:       ptr.To("worker"),
			LeaseDurationSeconds: ptr.To([]int32{15, 0, -1}[d.pick("duration", 3)]),
		}}
	}
	obj.SetNamespace(d.namespace)
	if obj.GetName() == "" {
		obj.SetName(d.name())
	}
	switch d.pick("metadata", 12) {
	case 0:
		obj.SetLabels(map[string]string{"colour": "red"})
	case 1:
		obj.SetLabels(map[string]string{"colour": "blue", "jobrun.dev/x": ""})
	case 2:
		obj.SetLabels(map[string]string{"not a label": "x"})
	case 3:
		obj.SetFinalizers([]string{"jobrun.dev/test"})
	case 4:
		obj.SetResourceVersion("7")
	case 5:
		obj.SetName("Not_A_Name")
	case 6:
		obj.SetGeneration(7)
		obj.SetUID("11111111-1111-1111-1111-111111111111")
	case 7:
		obj.SetAnnotations(map[string]string{"a": "b"})
	}
	return obj
}

func containers() []corev1.Container {
	return []corev1.Container{{Name: "main", Image: "busybox"}}
}

func (d *differential) newRun() *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{Spec: v1alpha1.JobRunSpec{JobName: "sync"}}
	spec := &run.Spec
	for range d.pick("spec fields", 4) {
		switch d.pick("spec field", 16) {
		case 0:
			spec.JobName = "Not A Label"
		case 1:
			spec.JobName = ""
		case 2, 3:
			spec.ConcurrencyKey = "key"
		case 4:
			spec.ConcurrencyKey, spec.Coalesce = "key", v1alpha1.CoalesceSkip
		case 5:
			spec.Coalesce = v1alpha1.CoalesceSkip
		case 6:
			spec.Coalesce = "Merge"
		case 7:
			spec.Input = &apiextensionsv1.JSON{Raw: []byte(`{"a":[1,2.5,null,"x"]}`)}
		case 8:
			spec.Input = &apiextensionsv1.JSON{Raw: []byte(`null`)}
		case 9:
			spec.Template = jobTemplate()
		case 10:
			spec.MaxAttempts = 2000
		case 11:
			spec.TTLSecondsAfterFinished = ptr.To[int32](0)
		case 12:
			spec.Cancel = ptr.To(d.pick("cancel", 2) == 0)
		case 13:
			spec.Admission = &v1alpha1.Admission{Disposition: v1alpha1.DispositionCreated, RunName: "a", RunToken: "t", Token: "t"}
		case 14:
			spec.IdempotencyKey = strings.Repeat("é", 257)
		case 15:
			run.Name = strings.Repeat("n", 53)
		}
	}
	if d.pick("status", 4) == 0 {
		run.Status.Phase = v1alpha1.PhaseCompleted // dropped on create
	}
	return run
}

func jobTemplate() *batchv1.JobTemplateSpec {
	return &batchv1.JobTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"kueue.x-k8s.io/queue-name": "q"}},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
			Spec:       corev1.PodSpec{Containers: containers(), RestartPolicy: corev1.RestartPolicyNever},
		}},
	}
}

func (d *differential) newKey() *v1alpha1.RunKey {
	key := &v1alpha1.RunKey{Spec: v1alpha1.RunKeySpec{Kind: v1alpha1.RunKeyConcurrency, JobName: "sync", Key: "key"}}
	key.Name = []string{"a", "b"}[d.pick("key name", 2)]
	d.keyMutation()(key)
	return key
}

func (d *differential) newJob() *batchv1.Job {
	template := jobTemplate()
	job := &batchv1.Job{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	switch d.pick("job", 7) {
	case 0:
		job.Spec.Template.Spec.Containers = nil
	case 1:
		job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyAlways
	case 2:
		job.Spec.Suspend = ptr.To(true)
	case 3:
		job.Spec.BackoffLimit = ptr.To[int32](0)
	case 4:
		job.Status.Active = 3 // dropped on create
	}
	return job
}

// mutation draws a change for an update of the main resource.
func (d *differential) mutation(kind string) func(client.Object) {
	switch d.pick("change of metadata", 12) {
	case 0:
		return func(obj client.Object) { obj.SetLabels(map[string]string{"colour": "red"}) }
	case 1:
		return func(obj client.Object) { obj.SetFinalizers([]string{"jobrun.dev/test"}) }
	case 2, 3:
		return func(obj client.Object) { obj.SetFinalizers(nil) }
	case 4:
		return func(obj client.Object) { obj.SetUID("22222222-2222-2222-2222-222222222222") }
	case 5:
		return func(obj client.Object) { obj.SetGeneration(99) }
	case 6:
		return func(client.Object) {}
	}
	switch kind {
	case "run":
		return d.runMutation()
	case "key":
		return d.keyMutation()
	case "job":
		suspend := d.pick("suspend", 2) == 0
		return func(obj client.Object) { obj.(*batchv1.Job).Spec.Suspend = &suspend }
	case "lease":
		holder := []string{"worker", "other"}[d.pick("holder", 2)]
		return func(obj client.Object) { obj.(*coordinationv1.Lease).Spec.HolderIdentity = &holder }
	default:
		return func(obj client.Object) { obj.SetAnnotations(map[string]string{"seen": "yes"}) }
	}
}

func (d *differential) runMutation() func(client.Object) {
	field, cancel := d.pick("spec field", 10), ptr.To(d.pick("cancel", 3) > 0)
	return func(obj client.Object) {
		run := obj.(*v1alpha1.JobRun)
		switch field {
		case 0, 1:
			run.Spec.Cancel = cancel
		case 2:
			run.Spec.JobName = "other"
		case 3:
			run.Spec.ConcurrencyKey = "other"
		case 4:
			run.Spec.MaxAttempts = 7
		case 5:
			run.Spec.Template = jobTemplate()
		case 6:
			run.Spec.Admission = nil
		case 7:
			run.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(`"changed"`)}
		case 8:
			run.Status.Phase = v1alpha1.PhaseFailed // ignored here
		case 9:
			run.Spec.Cancel = nil
		}
	}
}

func (d *differential) keyMutation() func(client.Object) {
	field, generation := d.pick("row field", 10), int64(d.pick("generation", 3))
	return func(obj client.Object) {
		spec := &obj.(*v1alpha1.RunKey).Spec
		pending := &v1alpha1.PendingRun{RunIdentity: v1alpha1.RunIdentity{RunName: "a", Token: "t"}, Generation: generation, Time: &someTime}
		leased := &v1alpha1.LeasedRun{RunIdentity: v1alpha1.RunIdentity{RunName: "a", Token: "t"}, Generation: generation, FromVersion: "12"}
		switch field {
		case 0, 1, 2:
			spec.Pending = pending
		case 3, 4:
			spec.Leased = leased
		case 5:
			spec.Pending, spec.Leased = pending, leased
		case 6:
			spec.Pending, spec.Leased = nil, nil
		case 7:
			spec.Owner = &v1alpha1.RunIdentity{RunName: "a", Token: "t"}
		case 8:
			spec.Key = "other"
		case 9:
			spec.Kind, spec.Owner = v1alpha1.RunKeyIdempotency, &v1alpha1.RunIdentity{RunName: "a"}
		}
	}
}

// statusMutation draws a change for an update of the status.
func (d *differential) statusMutation(kind string) func(client.Object) {
	switch kind {
	case "run":
		return d.runStatusMutation()
	case "job":
		active := int32(d.pick("active", 3))
		return func(obj client.Object) { obj.(*batchv1.Job).Status.Active = active }
	case "pod":
		phase := []corev1.PodPhase{corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed}[d.pick("phase", 3)]
		return func(obj client.Object) { obj.(*corev1.Pod).Status.Phase = phase }
	default:
		return func(client.Object) {}
	}
}

// runStatusMutation draws a few changes of one JobRun's status.
func (d *differential) runStatusMutation() func(client.Object) {
	var changes []func(*v1alpha1.JobRunStatus)
	for range 1 + d.pick("status fields", 4) {
		changes = append(changes, d.statusField())
	}
	alsoSpec := d.pick("also spec", 8) == 0
	return func(obj client.Object) {
		run := obj.(*v1alpha1.JobRun)
		for _, change := range changes {
			change(&run.Status)
		}
		if alsoSpec {
			run.Spec.JobName = "ignored-here"
			run.Labels = map[string]string{"ignored": "here"}
		}
	}
}

func (d *differential) statusField() func(*v1alpha1.JobRunStatus) {
	phases := []v1alpha1.Phase{"", v1alpha1.PhasePending, v1alpha1.PhaseLeased, v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed,
		v1alpha1.PhaseCancelled, v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent, "Unknown"}
	field, n := d.pick("status field", 20), d.pick("number", 3)
	phase := phases[d.pick("phase", len(phases))]
	return func(status *v1alpha1.JobRunStatus) {
		generation := int64(1)
		if status.Lease != nil {
			generation = status.Lease.Generation
		}
		switch field {
		case 0, 1, 2, 3:
			status.Phase = phase
		case 4, 5, 6: // a valid claim
			status.Phase = v1alpha1.PhaseLeased
			status.Lease = &v1alpha1.RunLease{HolderIdentity: []string{"x", "y", ""}[n], Generation: generation + int64(n), RenewTime: ptr.To(metav1.NewMicroTime(someTime.Time))}
		case 7, 8: // a valid end
			status.Phase, status.FinishedGeneration = v1alpha1.PhaseCompleted, generation
		case 9:
			status.Lease = &v1alpha1.RunLease{HolderIdentity: "z", Generation: int64(n)}
		case 10:
			status.Lease = nil
		case 11:
			status.FinishedGeneration = int64(n)
		case 12:
			status.Progress = &v1alpha1.Progress{Generation: int64(n), Current: ptr.To(int64(n - 1))}
		case 13:
			status.Coalesced = &v1alpha1.CoalescedTriggers{Count: int64(n), Recent: []v1alpha1.CoalescedTrigger{
				{Name: "a", UID: "u1", Time: &someTime}, {Name: "b", UID: []types.UID{"u1", "u2", "u3"}[n]}}}
		case 14:
			status.Error = strings.Repeat("e", 1023+n)
		case 15:
			status.Conditions = append(status.Conditions, metav1.Condition{Type: "Complete", Status: metav1.ConditionTrue,
				Reason: []string{"", "Completed", "bad reason"}[n], LastTransitionTime: someTime})
		case 16:
			status.Output = &apiextensionsv1.JSON{Raw: []byte([]string{`{"a":1}`, `"text"`, `null`}[n])}
		case 17:
			status.RunRef = &v1alpha1.ObjectReference{Name: "a", UID: "u"}
		case 18:
			status.StartTime, status.CompletionTime = &someTime, &someTime
		case 19:
			*status = v1alpha1.JobRunStatus{}
		}
	}
}
