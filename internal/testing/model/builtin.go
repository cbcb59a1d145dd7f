// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"maps"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// This file has the strategies of Jobs, Pods and Leases. They imitate those of the API server, whose module
// (k8s.io/kubernetes) is not made to be imported.
//
// They do what the operator could notice: the defaults of the Job's own fields, its selector and labels,
// generation, status and deletion. They refuse the mistakes that the schema of JobRuns lets through in a
// template. They set no defaults in the Pod template.

// builtinKind builds a kind that the registry handles in its typed form.
func builtinKind(object client.Object, list client.ObjectList, resource string, main, status strategy) *kind {
	gvks, _, err := Scheme.ObjectKinds(object)
	if err != nil {
		panic(err)
	}
	gvk := gvks[0]
	newObject := newOf(object)
	newStored := func() runtime.Object {
		obj := newObject()
		obj.GetObjectKind().SetGroupVersionKind(gvk)
		return obj
	}
	return &kind{
		gvk:       gvk,
		resource:  schema.GroupResource{Group: gvk.Group, Resource: resource},
		newObject: newObject,
		newList:   newOf(list),
		newStored: newStored,
		decode: func(body []byte) (runtime.Object, error) {
			obj := newStored()
			return obj, utiljson.Unmarshal(body, obj)
		},
		selectable: func(stored runtime.Object) (fields.Set, error) {
			obj := stored.(client.Object)
			return fields.Set{"metadata.name": obj.GetName(), "metadata.namespace": obj.GetNamespace()}, nil
		},
		supportsField: func(field string) error {
			if objectField(field) {
				return nil
			}
			return fmt.Errorf("field label %q not supported for %s", field, gvk.Kind)
		},
		main:   main,
		status: status,
	}
}

// base is the common part of the strategies of built-in kinds.
type base struct {
	runtime.ObjectTyper
	names.NameGenerator
}

var builtin = base{ObjectTyper: Scheme, NameGenerator: names.SimpleNameGenerator}

func (base) NamespaceScoped() bool                                            { return true }
func (base) Canonicalize(runtime.Object)                                      {}
func (base) AllowCreateOnUpdate(context.Context) bool                         { return false }
func (base) AllowUnconditionalUpdate(context.Context) bool                    { return true }
func (base) WarningsOnCreate(context.Context, runtime.Object) []string        { return nil }
func (base) WarningsOnUpdate(_ context.Context, _, _ runtime.Object) []string { return nil }

// Validate validates metadata only.
func (base) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	return validation.ValidateObjectMetaAccessor(obj.(client.Object), true, validation.NameIsDNSSubdomain, field.NewPath("metadata"))
}

// ValidateUpdate accepts everything. The registry validates metadata by itself.
func (base) ValidateUpdate(_ context.Context, _, _ runtime.Object) field.ErrorList { return nil }

// jobStrategy is the strategy of batch/v1 Jobs.
type jobStrategy struct{ base }

// DefaultGarbageCollectionPolicy makes a delete without a propagation policy orphan the Pods of a Job.
func (jobStrategy) DefaultGarbageCollectionPolicy(context.Context) rest.GarbageCollectionPolicy {
	return rest.OrphanDependents
}

func (jobStrategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	job := obj.(*batchv1.Job)
	spec := &job.Spec
	if spec.Completions == nil && spec.Parallelism == nil {
		spec.Completions = ptr.To[int32](1)
	}
	setDefault(&spec.Parallelism, 1)
	setDefault(&spec.BackoffLimit, 6)
	setDefault(&spec.CompletionMode, batchv1.NonIndexedCompletion)
	setDefault(&spec.Suspend, false)
	setDefault(&spec.PodReplacementPolicy, batchv1.TerminatingOrFailed)
	setDefault(&spec.ManualSelector, false)
	inherits := len(job.Labels) == 0 && spec.Template.Labels != nil
	generateSelector(job)
	if inherits { // the generated labels, too: in the API server, Job and template share one map
		job.Labels = maps.Clone(spec.Template.Labels)
	}
	job.Status = batchv1.JobStatus{}
	job.Generation = 1
}

// generateSelector sets the selector of a Job and the labels of its Pods, unless they are set.
func generateSelector(job *batchv1.Job) {
	if *job.Spec.ManualSelector {
		return
	}
	labels := maps.Clone(job.Spec.Template.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for label, value := range map[string]string{
		"job-name":                 job.Name,
		batchv1.JobNameLabel:       job.Name,
		"controller-uid":           string(job.UID),
		batchv1.ControllerUidLabel: string(job.UID),
	} {
		if _, ok := labels[label]; !ok {
			labels[label] = value
		}
	}
	job.Spec.Template.Labels = labels
	if job.Spec.Selector == nil {
		job.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{batchv1.ControllerUidLabel: string(job.UID)}}
	}
}

func setDefault[T any](pointer **T, value T) {
	if *pointer == nil {
		*pointer = &value
	}
}

func (s jobStrategy) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	spec := &obj.(*batchv1.Job).Spec.Template.Spec
	path := field.NewPath("spec", "template", "spec")
	errs := s.base.Validate(ctx, obj)
	if len(spec.Containers) == 0 {
		errs = append(errs, field.Required(path.Child("containers"), ""))
	}
	switch spec.RestartPolicy {
	case corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure:
	default: // An empty policy means Always.
		errs = append(errs, field.Required(path.Child("restartPolicy"), `valid values: "OnFailure", "Never"`))
	}
	return errs
}

func (jobStrategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	job, oldJob := obj.(*batchv1.Job), old.(*batchv1.Job)
	job.Status = oldJob.Status
	if !apiequality.Semantic.DeepEqual(job.Spec, oldJob.Spec) {
		job.Generation = oldJob.Generation + 1
	}
}

// jobStatusStrategy is the strategy of jobs/status.
type jobStatusStrategy struct{ jobStrategy }

func (jobStatusStrategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	obj.(*batchv1.Job).Spec = old.(*batchv1.Job).Spec
}

// podStrategy is the strategy of Pods.
type podStrategy struct{ base }

func (podStrategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	pod := obj.(*corev1.Pod)
	setDefault(&pod.Spec.TerminationGracePeriodSeconds, 30)
	pod.Generation = 1
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBestEffort}
}

func (podStrategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	obj.(*corev1.Pod).Status = old.(*corev1.Pod).Status
}

// CheckGracefulDelete makes the deletion of a running Pod wait for the kubelet.
func (podStrategy) CheckGracefulDelete(_ context.Context, obj runtime.Object, options *metav1.DeleteOptions) bool {
	pod := obj.(*corev1.Pod)
	period := ptr.Deref(options.GracePeriodSeconds, ptr.Deref(pod.Spec.TerminationGracePeriodSeconds, 0))
	ended := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	switch {
	case pod.Spec.NodeName == "" || ended:
		period = 0
	case period < 0:
		period = 1
	}
	options.GracePeriodSeconds = &period
	return true
}

// podStatusStrategy is the strategy of pods/status.
type podStatusStrategy struct{ podStrategy }

func (podStatusStrategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	pod, oldPod := obj.(*corev1.Pod), old.(*corev1.Pod)
	pod.Spec = oldPod.Spec
	pod.DeletionTimestamp = nil
	pod.OwnerReferences = oldPod.OwnerReferences
	if pod.Status.QOSClass == "" {
		pod.Status.QOSClass = oldPod.Status.QOSClass
	}
}

// leaseStrategy is the strategy of Leases.
type leaseStrategy struct{ base }

func (leaseStrategy) PrepareForCreate(context.Context, runtime.Object)        {}
func (leaseStrategy) PrepareForUpdate(_ context.Context, _, _ runtime.Object) {}
func (leaseStrategy) AllowUnconditionalUpdate(context.Context) bool           { return false }
func (leaseStrategy) AllowCreateOnUpdate(context.Context) bool                { return true }

func (s leaseStrategy) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	return append(s.base.Validate(ctx, obj), validateLease(&obj.(*coordinationv1.Lease).Spec)...)
}

func (leaseStrategy) ValidateUpdate(_ context.Context, obj, _ runtime.Object) field.ErrorList {
	return validateLease(&obj.(*coordinationv1.Lease).Spec)
}

func validateLease(spec *coordinationv1.LeaseSpec) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if seconds := spec.LeaseDurationSeconds; seconds != nil && *seconds <= 0 {
		errs = append(errs, field.Invalid(path.Child("leaseDurationSeconds"), *seconds, "must be greater than 0"))
	}
	if transitions := spec.LeaseTransitions; transitions != nil && *transitions < 0 {
		errs = append(errs, field.Invalid(path.Child("leaseTransitions"), *transitions, "must be greater than or equal to 0"))
	}
	return errs
}
