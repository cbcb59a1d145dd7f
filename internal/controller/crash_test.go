// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
)

// TestCrash stops the controller between any two operations of any plan, and once more in one of the plans that follow.
// The next controller must reach the same final state as without a crash.
func TestCrash(t *testing.T) {
	ended := func(phase v1alpha1.Phase) client.Object {
		job := makeJob(made("a").Obj(), 1)
		if phase == v1alpha1.PhaseCompleted {
			return job.Complete().Obj()
		}
		return job.Failed("BackoffLimitExceeded", "too often").Obj()
	}
	for name, tc := range map[string]struct {
		given []client.Object
		with  func(*scene)
		want  string
	}{
		"claim": {
			given: of(makeKey("k").Pending("a").Obj(), made("a").Obj()),
			want: `key: leased=a g1
				a: Leased, g1
				job a-1: runs`,
		},
		"claim with a stray Job": {
			given: of(makeKey("k").Pending("a").LastGeneration(2).Obj(), made("a").Leased(1, "5").Fenced().Phase(v1alpha1.PhasePending).Obj(), makeJob(made("a").Obj(), 1).Obj()),
			want: `key: leased=a g3
				a: Leased, g3, attempts 1
				job a-3: runs`,
		},
		"claim without a key": {
			given: of(keyless("a").Obj()),
			want: `key: free
				a: Leased, g1
				job a-1: runs`,
		},
		"claim, blocked once": {
			given: of(makeKey("k").Pending("a").Obj(), made("a").Obj()),
			with:  func(c *scene) { c.refuse = &decision.Refusal{Message: "no quota"} },
			want: `key: leased=a g1
				a: Leased, g1
				job a-1: runs`,
		},
		"finish": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Obj(), ended(v1alpha1.PhaseCompleted)),
			want: `key: free
				a: Completed, g1, finished g1, Complete=Completed
				job a-1: Complete`,
		},
		"finish and let the next one start": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("a").Leased(1, "5").Obj(), made("b").Pending().Obj(), ended(v1alpha1.PhaseFailed)),
			want: `key: leased=b g1
				a: Failed, g1, finished g1, Failed=BackoffLimitExceeded, "BackoffLimitExceeded: too often"
				b: Leased, g1
				job a-1: Failed
				job b-1: runs`,
		},
		"finish without a key": {
			given: of(keyless("a").Leased(1, "").Obj(), makeJob(keyless("a").Obj(), 1).Complete().Obj()),
			want: `key: free
				a: Completed, g1, finished g1, Complete=Completed
				job a-1: Complete`,
		},
		"cancel a run that waits": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("b").Pending().Cancel().Obj()), executing(made("a"), 1, "5")),
			want: `key: leased=a g1
				a: Leased, g1
				b: Cancelled, Cancelled=Cancelled, "cancelled on request"
				job a-1: runs`,
		},
		"cancel the only run": {
			given: of(makeKey("k").Pending("a").Obj(), made("a").Pending().Cancel().Obj()),
			want: `key: free
				a: Cancelled, Cancelled=Cancelled, "cancelled on request"`,
		},
		"cancel a run that executes": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Obj()), executing(made("a").Cancel(), 1, "5")),
			want: `key: unconfirmed=a-1
				a: Cancelled, g1, finished g1, Cancelled=Cancelled, "cancelled on request"`,
		},
		"cancel a run whose claim is not stored": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Cancel().Obj(), makeJob(made("a").Obj(), 1).Obj()),
			want: `key: unconfirmed=a-1
				a: Cancelled, g1, no holder, finished g1, Cancelled=Cancelled, "cancelled on request"`,
		},
		"cancel a run that waits and promote its receipts": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("b").Pending().Cancel().Obj(),
				answered("r1", "b", "10").Age(1).Obj(), answered("r2", "b", "10").Age(2).Obj()), executing(made("a"), 1, "5")),
			want: `key: pending=r1 leased=a g1
				a: Leased, g1
				b: Cancelled, Cancelled=Cancelled, "cancelled on request"
				r1: Pending, count 1 [r2]
				r2: Coalesced, of r1
				job a-1: runs`,
		},
		"end at the deadline": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Obj()), executing(made("a").Deadline(60), 1, "5")),
			with:  func(c *scene) { c.expired = true },
			want: `key: free
				a: Failed, g1, finished g1, Failed=DeadlineExceeded, "the lease lasted longer than activeDeadlineSeconds, 60 seconds"`,
		},
		"end at the deadline before the claim is stored": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Deadline(60).Obj(), makeJob(made("a").Obj(), 1).Obj()),
			with:  func(c *scene) { c.expired = true },
			want: `key: free
				a: Failed, g1, no holder, finished g1, Failed=DeadlineExceeded, "the lease lasted longer than activeDeadlineSeconds, 60 seconds"`,
		},
		"expire and start again": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Obj()),
			want: `key: leased=a g3 unconfirmed=a-1
				a: Leased, g3, attempts 1
				job a-3: runs`,
		},
		"expire a worker's lease": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), makeRun("a").Key("k").Created().Leased(1, "5").Holder("worker").Obj()),
			with:  func(c *scene) { c.expired = true },
			want: `key: pending=a g2
				a: Pending, g2, no holder, attempts 1`,
		},
		"expire while another run waits": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("a").Leased(1, "5").Obj(), made("b").Pending().Obj()),
			want: `key: leased=b g1 unconfirmed=a-1
				a: Failed, g1, finished g1, attempts 1, Failed=LeaseExpired, "Lease expired; pending run b already exists"
				b: Leased, g1
				job b-1: runs`,
		},
		"expire for the last time": {
			given: of(makeKey("k").Leased("a", 5, "5").Obj(), made("a").Leased(5, "5").Attempts(2).Obj()),
			want: `key: unconfirmed=a-5
				a: Failed, g5, finished g5, attempts 3, Failed=LeaseExpired, "Lease expired; all 3 attempts are used"`,
		},
		"expire without a key": {
			given: of(keyless("a").Leased(1, "").Obj()),
			want: `key: free
				a: Leased, g3, attempts 1
				job a-3: runs`,
		},
		"expire in the place of another": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("a").Requeue().Leased(1, "5").Obj(),
				made("b").Skip().Pending().Counted("r1").Obj(), answered("r1", "b", "10").BoundTo("b").Obj(), answered("r2", "b", "10").Age(1).Obj()),
			want: `key: leased=a g3 unconfirmed=a-1
				a: Leased, g3, attempts 1, count 3 [b r1 r2]
				b: Coalesced, of a, count 1 [r1]
				r1: Coalesced, of a
				r2: Coalesced, of a
				job a-3: runs`,
		},
		"expire a worker's lease in the place of another": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(),
				makeRun("a").Key("k").Created().Requeue().Leased(1, "5").Holder("worker").Obj(), made("b").Skip().Pending().Obj(),
				delivered("s", "b").Key("k").BoundTo("b").Obj()),
			with: func(c *scene) { c.expired = true },
			want: `key: pending=a g2
				a: Pending, g2, no holder, attempts 1, count 1 [b]
				b: Coalesced, of a
				s: Idempotent, of a`,
		},
		"count, mark and settle": {
			given: of(makeKey("k").Pending("a").Obj(), makeRun("a").Key("k").Created().Cancel().Ended(v1alpha1.PhaseCancelled).Obj(),
				makeRun("b").Key("k").Created().Obj(), answered("r1", "b", "10").Age(1).Obj(), answered("r2", "b", "10").Age(2).Obj()),
			want: `key: pending=b
				a: Cancelled
				b: Pending, count 2 [r1 r2]
				r1: Coalesced, of b
				r2: Coalesced, of b`,
		},
		"a receipt of a run that ended": {
			given: of(made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Reported().Obj(), answered("r", "a", "5").Obj(), delivered("s", "a").Key("k").Obj()),
			want: `key: free
				a: Completed, g1, finished g1, count 1 [r], Complete=Completed
				r: Coalesced, of a, Complete=Completed
				s: Idempotent, of a, Complete=Completed`,
		},
		"promote": {
			given: of(makeKey("k").Pending("gone").Obj(), answered("r1", "gone", "10").Age(1).Obj(), answered("r2", "gone", "10").Age(2).Obj()),
			want: `key: leased=r1 g1
				r1: Leased, g1, count 1 [r2]
				r2: Coalesced, of r1
				job r1-1: runs`,
		},
		"the key was deleted while a run executes and another waits": {
			given: and(executing(made("a"), 3, "5"), of(made("b").Pending().Obj(), answered("r", "b", "10").Obj())),
			want: `key: pending=b leased=a g3
				a: Leased, g3
				b: Pending, count 1 [r]
				r: Coalesced, of b
				job a-3: runs`,
		},
		"lose the lease": {
			given: and(of(makeKey("k").Leased("b", 1, "9").Obj()), executing(made("b"), 1, "9"), executing(made("a"), 3, "5")),
			want: `key: pending=a g4 leased=b g1
				a: Pending, g4, no holder, attempts 1
				b: Leased, g1
				job b-1: runs`,
		},
		"two stored without the webhook": {
			given: of(stored("x").Obj(), stored("y").Age(1).Skip().Obj(), stored("z").Age(2).Obj()),
			want: `key: pending=y leased=x g1
				x: Leased, g1
				y: Pending
				z: Failed, Failed=Conflict, "run y is pending for job \"job\", concurrencyKey \"k\""
				job x-1: runs`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, tc.given...)
			if tc.with != nil {
				tc.with(c)
			}
			crashes{want: oneSpace(tc.want), leased: max(1, c.count(v1alpha1.PhaseLeased)), seen: map[string]bool{}}.check(t, c, 2)
		})
	}
}

// crashes checks that a scene reaches the state want, however often and wherever the controller stops.
type crashes struct {
	want string
	// leased is the number of runs that may read Leased at once.
	leased int
	seen   map[string]bool
}

// check brings a scene to rest, and repeats this for each way to stop at most the given number of times.
func (k crashes) check(t *testing.T, c *scene, times int) {
	t.Helper()
	c.rest(func(c *scene, plan decision.Plan) {
		k.holds(t, c)
		for n := range plan.Ops {
			if times == 0 || n == 0 {
				continue
			}
			c.branch(plan, n, func() {
				k.holds(t, c)
				if state := fmt.Sprint(times, c.formatState()); !k.seen[state] {
					k.seen[state] = true
					k.check(t, c, times-1)
				}
			})
		}
	})
	got := regexp.MustCompile(`(g\d+)<\d+`).ReplaceAllString(oneSpace(c.formatState()), "$1")
	if diff := cmp.Diff(lines(k.want), lines(got)); diff != "" {
		t.Fatalf("at rest (-want +got):\n%s", diff)
	}
}

// holds checks the invariants that an observer of JobRuns must see at every instant.
func (k crashes) holds(t *testing.T, c *scene) {
	t.Helper()
	if pending, leased := c.count(v1alpha1.PhasePending), c.count(v1alpha1.PhaseLeased); pending > 1 || leased > k.leased {
		t.Fatalf("I1: %d runs read Pending, %d Leased\n%s", pending, leased, c.formatState())
	}
	for _, run := range c.runs() {
		if run.IsReceipt() && run.Status.RunRef.UID == run.UID {
			t.Fatalf("P1: %s stands for itself\n%s", run.Name, c.formatState())
		}
	}
}
