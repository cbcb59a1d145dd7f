// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// requeued returns a builder for a worker's run with onLeaseExpired: Requeue.
func requeued(name string) *wrappers.JobRunWrapper {
	return makeRun(name).Key("k").Created().Requeue()
}

func TestExpireInThePlaceOfAnother(t *testing.T) {
	expired := func(c *scene) { c.expired = true }
	key := makeKey("k").Leased("a", 1, "5").Pending("b").Obj()
	held := func() *wrappers.JobRunWrapper { return requeued("a").Leased(1, "5").Holder("worker") }
	full := make([]string, v1alpha1.MaxRecent)
	unbound := make([]client.Object, len(full))
	for i := range full {
		full[i] = fmt.Sprintf("r%02d", i)
		unbound[i] = answered(full[i], "a", "4").Obj()
	}
	decisions{
		"the waiting run becomes the receipt": {
			given: of(key, held().Obj(), made("b").Skip().Pending().Obj()),
			with:  expired,
			want: `follow-lease: CheckKey; WriteStatus(a, Leased, g2<5, no holder, attempts 1); CheckRun(b); SwapKey(pending=a g2); Emit(RunLeaseExpired a); Count(requeued);
				WriteStatus(a, Leased, count 1 [b]); Emit(RunCoalesced a<-b);
				WriteStatus(b, Coalesced, of a); WriteStatus(a, Pending, g2<5, no holder, attempts 1, count 1 [b])`,
		},
		"the fence is written": {
			given: of(key, requeued("a").Leased(1, "5").Fenced().Obj(), made("b").Skip().Pending().Obj()),
			want: `follow-lease: CheckRun(a); CheckRun(b); SwapKey(pending=a g2); Emit(RunLeaseExpired a); Count(requeued); WriteStatus(a, Leased, count 1 [b]); Emit(RunCoalesced a<-b);
				WriteStatus(b, Coalesced, of a); WriteStatus(a, Pending, count 1 [b])`,
		},
		"the waiting run does not give way": {
			given: of(key, held().Obj(), made("b").Pending().Obj()),
			with:  expired,
			want: `follow-lease: CheckKey; WriteStatus(a, Failed, finished g1, attempts 1, Failed=LeaseExpired, "Lease expired; pending run b already exists");
				Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); SwapKey(leased=b g1<10); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
		"the waiting run was not announced: it waits on": {
			given: of(key, held().Obj(), made("b").Skip().Obj()),
			with:  both(expired, skipping("announce-pending")),
			want: `follow-lease: CheckKey; WriteStatus(a, Leased, g2<5, no holder, attempts 1); CheckRun(b); SwapKey(pending=a g2 line=b); Emit(RunLeaseExpired a); Count(requeued);
				WriteStatus(a, Pending, g2<5, no holder, attempts 1)`,
		},
		"the waiting run does not exist yet: its policy is not known": {
			given: of(key, held().Obj()),
			with:  both(expired, func(c *scene) { c.coming = true }),
		},
		"the waiting run may be withdrawn": {
			given: of(key, held().Obj(), made("b").Skip().Batch("leader").Obj(), made("leader").Key("l").Batch("leader").Obj()),
			with:  expired,
		},
		"the record has no room: it waits on": {
			given: and(of(key, held().Counted(full...).Obj(), made("b").Skip().Pending().Obj()), unbound),
			with:  both(expired, skipping("bind-counted")),
			want: `follow-lease: CheckKey; WriteStatus(a, Leased, g2<5, no holder, attempts 1); CheckRun(b); SwapKey(pending=a g2 line=b); Emit(RunLeaseExpired a); Count(requeued);
				WriteStatus(b, -, "waits in line for its key: another run has the waiting place"); WriteStatus(a, Pending, g2<5, no holder, attempts 1)`,
		},
		"the last attempt": {
			given: of(key, held().MaxAttempts(1).Obj(), made("b").Skip().Pending().Obj()),
			with:  expired,
			want: `follow-lease: CheckKey; WriteStatus(a, Failed, finished g1, attempts 1, Failed=LeaseExpired, "Lease expired; all 1 attempts are used");
				Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); SwapKey(leased=b g1<10); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
	}.run(t)
}

func both(a, b func(*scene)) func(*scene) {
	return func(c *scene) { a(c); b(c) }
}

func TestFinishDisplacement(t *testing.T) {
	key := makeKey("k").Pending("a").LastGeneration(2).Obj()
	fenced := func() *wrappers.JobRunWrapper { return requeued("a").Leased(1, "5").Fenced() }
	decisions{
		"the displaced run is counted and marked": {
			given: of(key, fenced().Obj(), made("b").Skip().Pending().Obj()),
			want: `finish-displacement: CheckKey; CheckRun(b); WriteStatus(a, Leased, count 1 [b]); Emit(RunCoalesced a<-b);
				WriteStatus(b, Coalesced, of a)`,
		},
		"counted already: it is marked, no more": {
			given: of(key, fenced().Counted("b").Obj(), made("b").Skip().Pending().Obj()),
			want:  "bind-counted: CheckKey; CheckRun(a); WriteStatus(b, Coalesced, of a)",
		},
		"counted already, and told to wait on": {
			given: of(key, fenced().Counted("b").Obj(), made("b").Skip().Pending().Phase("").Obj()),
			want:  "bind-counted: CheckKey; CheckRun(a); WriteStatus(b, Coalesced, of a)",
		},
		"counted, and given the place behind meanwhile": {
			given: of(makeKey("k").Leased("a", 3, "7").Pending("b").Obj(), fenced().Phase(v1alpha1.PhasePending).Counted("b").Obj(), made("b").Skip().Pending().Obj()),
			want:  "bind-counted: CheckKey; CheckRun(a); WriteStatus(b, Coalesced, of a)",
		},
		"counted on a run that is cancelled: it takes the place": {
			given: of(key, fenced().Cancel().Counted("b").Obj(), made("b").Skip().Pending().Obj()),
			want: `release-pending: CheckRun(b); SwapKey(pending=b); WriteStatus(a, Cancelled, finished g2, Cancelled=Cancelled, "cancelled on request");
				Emit(RunCancelled a)`,
		},
		"a run that does not give way waits on": {
			given: of(key, fenced().Obj(), made("b").Pending().Obj()),
			want:  `clear-stale-pending: CheckKey; WriteStatus(b, -, "waits in line for its key: another run has the waiting place")`,
		},
	}.run(t)
}

func TestBindAnew(t *testing.T) {
	waiting := and(of(makeKey("k").Leased("c", 1, "5").Pending("a").Obj(), requeued("a").Leased(1, "5").Fenced().Phase(v1alpha1.PhasePending).Counted("b").Obj(),
		made("b").Skip().BoundTo("a").Obj()), executing(made("c"), 1, "5"))
	decisions{
		"a receipt of a run that became a receipt": {
			given: and(waiting, of(answered("r", "b", "4").BoundTo("b").Obj())),
			want:  "count-receipts: CheckKey; WriteStatus(a, Pending, count 2 [b r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, of a)",
		},
		"one that was answered with it and is not bound yet": {
			given: and(waiting, of(answered("r", "b", "4").Obj())),
			want:  "count-receipts: CheckKey; WriteStatus(a, Pending, count 2 [b r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, of a)",
		},
		"one that was delivered before": {
			given: and(waiting, of(delivered("s", "b").Key("k").BoundTo("b").Obj())),
			want:  "bind-idempotent: WriteStatus(s, Idempotent, of a)",
		},
		"after the run has ended: counted before it gets the outcome": {
			given: of(requeued("a").Leased(3, "5").Ended(v1alpha1.PhaseCompleted).Counted("b").Obj(), made("b").Skip().BoundTo("a").Settled().Obj(),
				answered("r", "b", "4").BoundTo("b").Obj()),
			want: "count-receipts: CheckKey; WriteStatus(a, Completed, count 2 [b r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, of a)",
		},
		"the run is gone: they share its fate": {
			given: of(made("b").Skip().BoundTo("a").Settled().Obj(), answered("r", "b", "4").BoundTo("b").Obj()),
			want:  `copy-outcome: WriteStatus(r, Coalesced, Cancelled=RunDeleted, "run a was deleted")`,
		},
	}.run(t)
}
