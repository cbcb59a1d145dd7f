// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Request names what is to be reconciled: the RunKey that runs contend for, or
// a run by itself, for what concerns it alone (and everything, if it has no key).
type Request struct {
	Namespace string
	RunKey    string
	Run       string
}

// home is the home that a request is about: its RunKey, or its run by itself.
func (q Request) home() string {
	if q.RunKey != "" {
		return q.RunKey
	}
	return runkey.RunHome(q.Run)
}

// homeRequest is the request that a run's execution belongs to.
func homeRequest(run *v1alpha1.JobRun) Request {
	if run.Spec.ConcurrencyKey == "" {
		return runRequest(run.Namespace, run.Name)
	}
	return Request{Namespace: run.Namespace, RunKey: runkey.Home(run)}
}

func runRequest(namespace, name string) Request {
	return Request{Namespace: namespace, Run: name}
}

// requests are those that a change of an object calls for.
func (r *Reconciler) requests(ctx context.Context, object client.Object) []Request {
	switch object := object.(type) {
	case *v1alpha1.JobRun:
		requests := append(requestsForRun(object), r.requestsForOwned(ctx, object)...)
		requests = append(requests, r.requestsForMembers(ctx, object)...)
		return append(requests, r.requestsForReceipts(ctx, object)...)
	case *v1alpha1.RunKey:
		requests := []Request{{Namespace: object.Namespace, RunKey: object.Name}}
		if v1alpha1.RunKeyKindOf(object.Name) == v1alpha1.RunKeyIdempotency {
			requests = append(requests, r.requestsForHeirs(ctx, object.Namespace, object.Name)...)
		}
		return requests
	case *batchv1.Job:
		return requestsForJob(object)
	default:
		return nil
	}
}

func requestsForRun(run *v1alpha1.JobRun) []Request {
	requests := append([]Request{homeRequest(run)}, requestsForIdempotencyKey(run)...)
	if run.HasOutcome() && run.Spec.ConcurrencyKey != "" {
		requests = append(requests, runRequest(run.Namespace, run.Name))
	}
	return append(requests, requestsForKeepers(run)...)
}

// requestsForEnded are those of a JobRun that was at its end before this process
// began to look. There may be very many, so each calls only for what nothing else
// calls for by being there: a RunKey that names it, a Job of it, or whoever waits
// for its outcome.
func (r *Reconciler) requestsForEnded(run *v1alpha1.JobRun) []Request {
	requests := requestsForIdempotencyKey(run)
	if _, soon := r.expires(run, metav1.NewTime(r.Clock.Now())); soon {
		requests = append(requests, runRequest(run.Namespace, run.Name))
	}
	return append(requests, requestsForKeepers(run)...)
}

func requestsForIdempotencyKey(run *v1alpha1.JobRun) []Request {
	if run.Spec.IdempotencyKey == "" {
		return nil
	}
	name := v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)
	return []Request{{Namespace: run.Namespace, RunKey: name}}
}

func requestsForKeepers(run *v1alpha1.JobRun) []Request {
	var requests []Request
	for _, name := range keepers(run) {
		requests = append(requests, runRequest(run.Namespace, name))
	}
	return requests
}

// keepers are the names of the JobRuns that are kept for this one, or keep a
// bounded history of it: the leader of its batch, the run it was answered with
// and the run it is bound to. Each of its changes may be the last they wait for.
func keepers(run *v1alpha1.JobRun) []string {
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
	return slices.Compact(names)
}

// requestsForOwned are the idempotency keys that a run owns, and the homes of
// those who wait for it to stand for them. It need not have been triggered with
// them: it owns those of the triggers it absorbed, too.
func (r *Reconciler) requestsForOwned(ctx context.Context, run *v1alpha1.JobRun) []Request {
	keys, err := r.Keys.OwnedBy(ctx, run.Namespace, runkey.IdentityOf(run))
	if err != nil {
		log.FromContext(ctx).Error(err, "Listing RunKeys from the cache")
	}
	var requests []Request
	for i := range keys {
		requests = append(requests, Request{Namespace: run.Namespace, RunKey: keys[i].Name})
		requests = append(requests, r.requestsForHeirs(ctx, run.Namespace, keys[i].Name)...)
	}
	return requests
}

// requestsForMembers are the homes of those who wait for what the leader of
// their batch records.
func (r *Reconciler) requestsForMembers(ctx context.Context, leader *v1alpha1.JobRun) []Request {
	var requests []Request
	for _, member := range r.undecidedMembers(ctx, leader) {
		requests = append(requests, homeRequest(member))
	}
	return requests
}

// requestsForReceipts are the homes of receipts of run that contend for
// something else: a trigger that was delivered before may have another key.
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
	// The run may own its idempotency key since its receipts were answered.
	name := v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)
	return append(requests, r.requestsForHeirs(ctx, run.Namespace, name)...)
}

// requestsForHeirs are the homes of the triggers that share an idempotency key
// and that nobody is known to stand for: its owner may be one of them now.
func (r *Reconciler) requestsForHeirs(ctx context.Context, namespace, name string) []Request {
	var requests []Request
	for _, run := range r.listed(ctx, namespace, cache.FieldIdempotency, name) {
		if run.Status.Phase == "" {
			requests = append(requests, homeRequest(run))
		}
	}
	return requests
}

// listed is list without an error: a cache whose fields are registered has none.
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
