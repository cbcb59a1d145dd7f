// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// quotaOfJobs returns a ResourceQuota of Jobs.
func quotaOfJobs(name string, used, hard int64) *corev1.ResourceQuota {
	list := func(n int64) corev1.ResourceList {
		return corev1.ResourceList{"count/jobs.batch": *resource.NewQuantity(n, resource.DecimalSI)}
	}
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: wrappers.Namespace, Name: name},
		Status:     corev1.ResourceQuotaStatus{Used: list(used), Hard: list(hard)},
	}
}

// adds is a queue that records what is added.
type adds struct {
	queue
	runs []string
}

func (a *adds) Add(request Request) { a.runs = append(a.runs, request.Run) }

// blockedBench returns a bench in which the Jobs of n runs, run-1 to run-n, are refused by a quota, in that order.
func blockedBench(t *testing.T, n int, quotas ...client.Object) bench {
	t.Helper()
	b := newBench(quotas...)
	for i := range n {
		b.refuse(t, keyless(fmt.Sprintf("run-%d", i+1)).Obj(), "exceeded quota: jobs, requested: count/jobs.batch=1")
	}
	return b
}

// refuse lets the API server refuse the Job of a run.
func (b bench) refuse(t *testing.T, run *v1alpha1.JobRun, why string) {
	t.Helper()
	b.store.Before = func(_ string, object client.Object) error {
		return apierrors.NewForbidden(batchv1.Resource("jobs"), object.GetName(), errors.New(why))
	}
	a := b.newAction(homeRequest(run), decision.NewSnapshot(decision.Observation{}))
	var refused *refusedError
	if err := a.createJob(t.Context(), decision.CreateJob{Run: run, Generation: 1}); !errors.As(err, &refused) {
		t.Fatalf("the Job was not refused: %v", err)
	}
	b.store.Before = nil
}

func TestQuotaWakesBlockedRuns(t *testing.T) {
	full := quotaOfJobs("jobs", 5, 5)
	for name, tc := range map[string]struct {
		quotas        []client.Object // as the cache shows them after the change
		before, after *corev1.ResourceQuota
		want          []string
	}{
		"a Job has gone":                {of(quotaOfJobs("jobs", 4, 5)), full, quotaOfJobs("jobs", 4, 5), []string{"run-1"}},
		"two Jobs have gone":            {of(quotaOfJobs("jobs", 3, 5)), full, quotaOfJobs("jobs", 3, 5), []string{"run-1", "run-2"}},
		"the quota was raised":          {of(quotaOfJobs("jobs", 5, 8)), full, quotaOfJobs("jobs", 5, 8), []string{"run-1", "run-2", "run-3"}},
		"the quota was deleted":         {nil, full, nil, []string{"run-1", "run-2", "run-3", "run-4"}},
		"the quota limits Jobs no more": {of(&corev1.ResourceQuota{ObjectMeta: full.ObjectMeta}), full, &corev1.ResourceQuota{ObjectMeta: full.ObjectMeta}, []string{"run-1", "run-2", "run-3", "run-4"}},
		"the quota is still overdrawn":  {of(quotaOfJobs("jobs", 6, 5)), quotaOfJobs("jobs", 7, 5), quotaOfJobs("jobs", 6, 5), nil},
		"a Job took the place":          {of(quotaOfJobs("jobs", 4, 5)), quotaOfJobs("jobs", 3, 5), quotaOfJobs("jobs", 4, 5), nil},
		"another quota is full":         {of(quotaOfJobs("jobs", 0, 5), quotaOfJobs("other", 2, 2)), full, quotaOfJobs("jobs", 0, 5), nil},
		"another quota has less room":   {of(quotaOfJobs("jobs", 0, 5), quotaOfJobs("other", 1, 2)), full, quotaOfJobs("jobs", 0, 5), []string{"run-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, q := blockedBench(t, 4, tc.quotas...), &adds{}
			if tc.after == nil {
				b.quotas().Delete(t.Context(), event.DeleteEvent{Object: tc.before}, q)
			} else {
				b.quotas().Update(t.Context(), event.UpdateEvent{ObjectOld: tc.before, ObjectNew: tc.after}, q)
			}
			if diff := cmp.Diff(tc.want, q.runs); diff != "" {
				t.Errorf("woken (-want +got):\n%s", diff)
			}
			for i := range 4 {
				woken, left := i < len(tc.want), b.sightings.holdOff(wrappers.UIDOf(fmt.Sprintf("run-%d", i+1)))
				if woken != (left == 0) {
					t.Errorf("run-%d: woken %t, but it is due in %s", i+1, woken, left)
				}
			}
		})
	}
}

// A thousand runs are blocked. Each Job that goes wakes one of them.
func TestQuotaWakesNoMoreThanFindRoom(t *testing.T) {
	b, q := blockedBench(t, 1000, quotaOfJobs("jobs", 4, 5)), &adds{}
	for range 3 { // The first run has not tried yet.
		b.wake(t.Context(), wrappers.Namespace, q)
	}
	b.sightings.accepted(wrappers.UIDOf("run-1"))
	b.wake(t.Context(), wrappers.Namespace, q)
	if diff := cmp.Diff([]string{"run-1", "run-2"}, q.runs); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
	b.refuse(t, keyless("run-2").Obj(), "exceeded quota: jobs") // Somebody else took the place.
	b.wake(t.Context(), wrappers.Namespace, q)
	if diff := cmp.Diff([]string{"run-1", "run-2", "run-2"}, q.runs); diff != "" {
		t.Errorf("woken after another refusal (-want +got):\n%s", diff)
	}
}

func TestWakesOnlyOwnBlockedRuns(t *testing.T) {
	b, q := blockedBench(t, 3, quotaOfJobs("jobs", 4, 5)), &adds{}
	b.refuse(t, keyless("policy").Obj(), "the policy says no")
	b.Shares = partOf("run/run-2", "run/run-3", "run/policy")
	b.wake(t.Context(), "another", q)
	if len(q.runs) > 0 {
		t.Errorf("woken by another namespace: %v", q.runs)
	}
	b.wake(t.Context(), wrappers.Namespace, q)
	if diff := cmp.Diff([]string{"run-2"}, q.runs); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
	if left := b.sightings.holdOff(wrappers.UIDOf("policy")); left != time.Second {
		t.Errorf("the run that a policy blocks is due in %s", left)
	}
}
