// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	dto "github.com/prometheus/client_model/go"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// Only the first claim of a run is observed as its first lease, not a claim after a worker gave the run back.
func TestFirstLeaseOfAWorker(t *testing.T) {
	observed := func() uint64 {
		var m dto.Metric
		if err := leaseWait.Write(&m); err != nil {
			t.Fatal(err)
		}
		return m.GetHistogram().GetSampleCount()
	}
	run := func() *wrappers.JobRunWrapper { return makeRun("a").Key("k").Created() }
	held := func(generation int64) client.Object { return run().Leased(generation, "5").Holder("worker").Obj() }
	b := newBench()
	before := observed()
	b.reportClaim(t.Context(), run().Pending().Obj(), held(1))
	b.reportClaim(t.Context(), held(1), run().Leased(2, "5").Holder("").Obj())
	b.reportClaim(t.Context(), run().Leased(2, "5").Holder("").Pending().Obj(), held(3))
	b.Shares = partOf() // Another replica owns the home.
	b.reportClaim(t.Context(), run().Pending().Obj(), held(1))
	if got := observed() - before; got != 1 {
		t.Errorf("%d first leases", got)
	}
}

// A claim before the announcement tells RunTriggered, too.
func TestEventsOfAWorkersClaim(t *testing.T) {
	run := func() *wrappers.JobRunWrapper { return makeRun("a").Created() }
	held := func() client.Object { return run().Leased(1, "").Holder("worker").Obj() }
	for name, tc := range map[string]struct {
		before client.Object
		want   int
	}{"announced": {run().Pending().Obj(), 1}, "not announced": {run().Obj(), 2}} {
		t.Run(name, func(t *testing.T) {
			b := newBench()
			b.reportClaim(t.Context(), tc.before, held())
			if got := len(b.events.Events); got != tc.want {
				t.Errorf("%d events, want %d", got, tc.want)
			}
		})
	}
}
