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
