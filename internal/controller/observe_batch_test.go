// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// The withdrawal of a batch rests on a live read, because the cache may lag longer than BatchTimeout.
func TestBatchIsWithdrawnByALiveRead(t *testing.T) {
	leader, member := made("a").Batch("a").Obj(), made("b").Batch("a").Obj()
	for name, tc := range map[string]struct {
		stored []client.Object
		want   v1alpha1.BatchDecision
	}{
		"it is whole, and the cache does not show it": {of(leader, member), v1alpha1.BatchStarted},
		"it is not whole": {of(leader), v1alpha1.BatchWithdrawn},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(tc.stored...).lag(leader)
			b.BatchTimeout = time.Minute
			request := runRequest(wrappers.Namespace, "a")
			b.reconcile(t, request, time.Minute)
			b.clock.Step(time.Minute)
			b.reconcile(t, request, 0)
			got := &v1alpha1.JobRun{}
			if err := b.store.Get(t.Context(), client.ObjectKeyFromObject(leader), got); err != nil {
				t.Fatal(err)
			}
			if got.Status.Batch == nil || got.Status.Batch.Decision != tc.want {
				t.Errorf("decision %v, want %s", got.Status.Batch, tc.want)
			}
		})
	}
}
