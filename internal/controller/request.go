// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Request names what to reconcile. Either RunKey or Run is set.
type Request struct {
	Namespace string
	// RunKey names a RunKey. The request is about this key and, for a concurrency key, the runs of the key.
	RunKey string
	// Run names a JobRun. The request is about its reported end, its batch and its retention. If the JobRun has no
	// concurrencyKey, the request is also about its execution.
	Run string
	// Job names a Job of Run. If it is set, the request is only about the TTL of that Job.
	Job string
}

// home returns the home of a request: its RunKey, or its run.
func (q Request) home() string {
	if q.RunKey != "" {
		return q.RunKey
	}
	return runkey.RunHome(q.Run)
}

// homeRequest returns the request for the home of a run.
func homeRequest(run *v1alpha1.JobRun) Request {
	if run.Spec.ConcurrencyKey == "" {
		return runRequest(run.Namespace, run.Name)
	}
	return Request{Namespace: run.Namespace, RunKey: runkey.Home(run)}
}

func jobRequest(job *batchv1.Job) Request {
	return Request{Namespace: job.Namespace, Run: job.Labels[v1alpha1.LabelRun], Job: job.Name}
}

func runRequest(namespace, name string) Request { return Request{Namespace: namespace, Run: name} }

// requests returns what to enqueue when an object has changed.
func (r *Reconciler) requests(ctx context.Context, object client.Object) []Request {
	switch object := object.(type) {
	case *v1alpha1.JobRun:
		requests := append(requestsForRun(object), r.requestsForOwned(ctx, object)...)
		requests = append(requests, r.requestsForEndedJob(ctx, object)...)
		requests = append(requests, r.requestsForOwner(ctx, object)...)
		requests = append(requests, homeRequests(r.undecidedMembers(ctx, object))...)
		return append(requests, r.requestsForReceipts(ctx, object)...)
	case *v1alpha1.RunKey:
		requests := []Request{{Namespace: object.Namespace, RunKey: object.Name}}
		if v1alpha1.RunKeyKindOf(object.Name) == v1alpha1.RunKeyIdempotency {
			requests = append(requests, r.requestsForDeliveries(ctx, object.Namespace, object.Name)...)
		}
		return append(requests, r.requestsForMemory(ctx, object)...)
	case *v1alpha1.JobDefinition:
		return r.requestsForDefinition(ctx, object)
	case *batchv1.Job:
		return append(requestsForJob(object), r.requestsForLateEnd(ctx, object)...)
	case *corev1.Pod:
		return requestsForPod(object)
	default:
		return nil
	}
}

// homeRequests returns the requests for the homes of runs.
func homeRequests(runs []*v1alpha1.JobRun) []Request {
	var requests []Request
	for _, run := range runs {
		requests = append(requests, homeRequest(run))
	}
	return requests
}

func requestsForRun(run *v1alpha1.JobRun) []Request {
	requests := append([]Request{homeRequest(run)}, requestsForIdempotencyKey(run)...)
	if run.HasOutcome() && run.Spec.ConcurrencyKey != "" {
		requests = append(requests, runRequest(run.Namespace, run.Name))
	}
	return append(requests, requestsForReferenced(run)...)
}

// requestsForEndedJob returns the request for the Job of a run that has ended, if the TTL of the Job ends before the next
// sweep.
func (r *Reconciler) requestsForEndedJob(ctx context.Context, run *v1alpha1.JobRun) []Request {
	if !run.HasEnded() || !run.RunsAsJob() || run.LeaseGeneration() == 0 {
		return nil
	}
	job := &batchv1.Job{}
	name := client.ObjectKey{Namespace: run.Namespace, Name: executor.JobName(run, run.LeaseGeneration())}
	if err := r.Client.Get(ctx, name, job, client.UnsafeDisableDeepCopy); err != nil {
		return nil // It is gone, or the sweep finds it.
	}
	if _, soon := r.expiresJob(ctx, job); !soon {
		return nil
	}
	return []Request{jobRequest(job)}
}

// requestsForLateEnd returns the request for a Job that finished after its run had ended, if its TTL ends before the next sweep. The
// event of the run came too early for that.
func (r *Reconciler) requestsForLateEnd(ctx context.Context, job *batchv1.Job) []Request {
	if !executor.IsFinished(job) {
		return nil
	}
	if _, soon := r.expiresJob(ctx, job); !soon {
		return nil
	}
	return []Request{jobRequest(job)}
}

// requestsForEnded returns what to enqueue for a slim JobRun of the initial list. There may be 100,000 of them, so it
// leaves out the work that begins with another object: a RunKey that names the JobRun, an unfinished Job of it, or a
// receipt that waits for its outcome. The controller enqueues that object itself.
func (r *Reconciler) requestsForEnded(run *v1alpha1.JobRun) []Request {
	requests := requestsForReferenced(run)
	_, soon := r.expires(run, metav1.NewTime(r.Clock.Now()))
	if soon && run.Spec.TTLSecondsAfterFinished != nil { // A sweep finds the others: under a new --run-ttl all may be due.
		requests = append(requests, runRequest(run.Namespace, run.Name))
	}
	return requests
}

func requestsForIdempotencyKey(run *v1alpha1.JobRun) []Request {
	if run.Spec.IdempotencyKey == "" {
		return nil
	}
	name := v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)
	return []Request{{Namespace: run.Namespace, RunKey: name}}
}

// requestsForReferenced returns the requests for the JobRuns that this one refers to: the leader of its batch, the run it
// was answered with, and the run it is bound to. Their retention depends on this JobRun.
func requestsForReferenced(run *v1alpha1.JobRun) []Request {
	var names []string
	if run.Spec.Batch != nil {
		names = append(names, run.Spec.Batch.Leader)
	}
	if run.WasAbsorbed() {
		names = append(names, runkey.AnsweredWith(run).RunName)
	}
	if ref := run.Status.RunRef; ref != nil && ref.UID != run.UID {
		names = append(names, ref.Name)
	}
	slices.Sort(names)
	var requests []Request
	for _, name := range slices.Compact(names) {
		requests = append(requests, runRequest(run.Namespace, name))
	}
	return requests
}

// requestsForOwned returns the requests for the idempotency keys that a run owns, and for the JobRuns with these keys that
// have no phase yet. A run also owns the idempotency keys of the triggers that it absorbed.
func (r *Reconciler) requestsForOwned(ctx context.Context, run *v1alpha1.JobRun) []Request {
	keys, err := r.Keys.OwnedBy(ctx, run.Namespace, runkey.IdentityOf(run))
	if err != nil {
		log.FromContext(ctx).Error(err, "Listing RunKeys from the cache")
	}
	var requests []Request
	for i := range keys {
		requests = append(requests, Request{Namespace: run.Namespace, RunKey: keys[i].Name})
		requests = append(requests, r.requestsForDeliveries(ctx, run.Namespace, keys[i].Name)...)
	}
	return requests
}

// requestsForReceipts returns the requests for those receipts of a run that have another home than the run. A second
// delivery of an idempotency key may have another concurrencyKey than the run.
func (r *Reconciler) requestsForReceipts(ctx context.Context, run *v1alpha1.JobRun) []Request {
	var requests []Request
	for _, value := range []string{cache.AbsorberToken(runkey.IdentityOf(run).Token), cache.AbsorberUID(string(run.UID))} {
		for _, receipt := range r.listed(ctx, run.Namespace, cache.FieldAbsorber, value) {
			if runkey.Home(receipt) != runkey.Home(run) {
				requests = append(requests, homeRequest(receipt))
			}
		}
	}
	if run.Spec.IdempotencyKey == "" {
		return requests
	}
	// The run may have become the owner of its idempotency key after other deliveries were answered.
	name := v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)
	return append(requests, r.requestsForDeliveries(ctx, run.Namespace, name)...)
}

// requestsForDeliveries returns the requests for the JobRuns that share an idempotency key and have no phase yet. The
// controller decides on them again when the owner of the key changes.
func (r *Reconciler) requestsForDeliveries(ctx context.Context, namespace, name string) []Request {
	runs := r.listed(ctx, namespace, cache.FieldIdempotency, name)
	return homeRequests(slices.DeleteFunc(runs, func(run *v1alpha1.JobRun) bool { return run.Status.Phase != "" }))
}

// listed calls list and logs an error. The cache returns no error if the field is registered.
func (r *Reconciler) listed(ctx context.Context, namespace, field, value string) []*v1alpha1.JobRun {
	runs, err := r.list(ctx, namespace, field, value)
	if err != nil {
		log.FromContext(ctx).Error(err, "Listing JobRuns from the cache", "field", field)
	}
	return runs
}

func requestsForJob(job *batchv1.Job) []Request {
	var requests []Request
	if key := job.Labels[v1alpha1.LabelKey]; v1alpha1.RunKeyKindOf(key) == v1alpha1.RunKeyConcurrency {
		requests = append(requests, Request{Namespace: job.Namespace, RunKey: key})
	}
	if owner := metav1.GetControllerOf(job); executor.IsJobRun(owner) {
		requests = append(requests, runRequest(job.Namespace, owner.Name))
	}
	return requests
}

// requestsForPod returns the request for the home of the run that the labels of a Pod name.
func requestsForPod(pod *corev1.Pod) []Request {
	key, run := pod.Labels[v1alpha1.LabelKey], pod.Labels[v1alpha1.LabelRun]
	switch {
	case v1alpha1.RunKeyKindOf(key) == v1alpha1.RunKeyConcurrency:
		return []Request{{Namespace: pod.Namespace, RunKey: key}}
	case run != "":
		return []Request{runRequest(pod.Namespace, run)}
	default:
		return nil
	}
}
