package controller

import (
	"context"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/index"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Request names what is to be reconciled: the RunKey that runs contend for, or
// a run by itself, for what concerns it alone (and everything, if it has no key).
type Request struct {
	Namespace string
	RunKey    string
	Run       string
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

// Requests are the requests that a change of an object calls for.
func (r *Reconciler) Requests(ctx context.Context, object client.Object) []Request {
	switch object := object.(type) {
	case *v1alpha1.JobRun:
		return append(requestsForRun(object), r.requestsForReceipts(ctx, object)...)
	case *v1alpha1.RunKey:
		return append([]Request{{Namespace: object.Namespace, RunKey: object.Name}}, r.requestsForHeirs(ctx, object)...)
	case *batchv1.Job:
		return requestsForJob(object)
	default:
		return nil
	}
}

func requestsForRun(run *v1alpha1.JobRun) []Request {
	requests := []Request{homeRequest(run)}
	if run.Spec.IdempotencyKey != "" {
		name := v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)
		requests = append(requests, Request{Namespace: run.Namespace, RunKey: name})
	}
	if runkey.HasOutcome(run) && run.Spec.ConcurrencyKey != "" {
		requests = append(requests, runRequest(run.Namespace, run.Name))
	}
	if ref := run.Status.RunRef; ref != nil && ref.UID != run.UID {
		// The run keeps a bounded history of its receipts.
		requests = append(requests, runRequest(run.Namespace, ref.Name))
	}
	return requests
}

// requestsForReceipts are the homes of receipts of run that contend for
// something else: a trigger that was delivered before may have another key.
func (r *Reconciler) requestsForReceipts(ctx context.Context, run *v1alpha1.JobRun) []Request {
	var requests []Request
	for _, value := range []string{index.AbsorberToken(runkey.Of(run).Token), index.AbsorberUID(string(run.UID))} {
		receipts, err := r.list(ctx, run.Namespace, index.FieldAbsorber, value)
		if err != nil {
			continue // The field is registered; the cache cannot fail otherwise.
		}
		for _, receipt := range receipts {
			if runkey.Home(receipt) != runkey.Home(run) {
				requests = append(requests, homeRequest(receipt))
			}
		}
	}
	return requests
}

// requestsForHeirs are the homes of the triggers that share an idempotency key:
// its owner may be one of them now.
func (r *Reconciler) requestsForHeirs(ctx context.Context, key *v1alpha1.RunKey) []Request {
	if !isIdempotencyKey(key.Name) {
		return nil
	}
	runs, err := r.list(ctx, key.Namespace, index.FieldIdempotency, key.Name)
	if err != nil {
		return nil
	}
	var requests []Request
	for _, run := range runs {
		if run.Status.Phase == "" {
			requests = append(requests, homeRequest(run))
		}
	}
	return requests
}

func requestsForJob(job *batchv1.Job) []Request {
	var requests []Request
	if key := job.Labels[v1alpha1.LabelKey]; isConcurrencyKey(key) {
		requests = append(requests, Request{Namespace: job.Namespace, RunKey: key})
	}
	if owner := metav1.GetControllerOf(job); isJobRun(owner) {
		requests = append(requests, runRequest(job.Namespace, owner.Name))
	}
	return requests
}

func isJobRun(owner *metav1.OwnerReference) bool {
	return owner != nil && owner.Kind == "JobRun" && strings.HasPrefix(owner.APIVersion, v1alpha1.GroupVersion.Group+"/")
}

func isConcurrencyKey(name string) bool { return strings.HasPrefix(name, "c-") }

func isIdempotencyKey(name string) bool { return strings.HasPrefix(name, "i-") }
