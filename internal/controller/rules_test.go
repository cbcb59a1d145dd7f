// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// These tests hold the rules of docs/design.md that decisions keep, each with the schedule that it closes.
// The keystore and the webhook keep the rest of P1 and P10.

// P1: "a" is deleted and applied again before a reconcile. It must not become a receipt of itself or of
// another receipt, and it is not the run of that name that was deleted.
func TestP1IdentityIsTheToken(t *testing.T) {
	again := func() *wrappers.JobRunWrapper { return answered("a", "a", "10").Token("again").UID("again") }
	decisions{
		"a receipt that was answered with its own name": {
			given: of(makeKey("k").Pending("a").Obj(), again().Obj()),
			want:  "release-pending: CheckRun(a); SwapKey(pending=a); Count(promotion)",
		},
		"and is pending itself": {
			given: and(of(makeKey("k").PendingAs("a", "again").Leased("x", 1, "5").Obj(), again().Obj()), executing(made("x"), 1, "5")),
			want:  "announce-pending: CheckKey; WriteStatus(a, Pending); Emit(RunTriggered a)",
		},
		"an earlier run of that name has the lease": {
			given: of(makeKey("k").Leased("a", 3, "5").Pending("b").Obj(), made("a").UID("again").Token("again").Obj(), made("b").Pending().Obj()),
			want:  "follow-lease: StopRun(a g3); SwapKey(pending=b unconfirmed=a-3)",
		},
		"an earlier run of that name has the waiting place": {
			given: of(makeKey("k").Pending("a").Obj(), made("a").UID("again").Token("again").Pending().Obj()),
			want:  "release-pending: CheckRun(a); SwapKey(pending=a)",
		},
		"the Job of an earlier run of that name": {
			given: of(makeKey("k").PendingAs("a", "again").Obj(), made("a").UID("again").Token("again").Obj(), makeJob(made("a").Obj(), 1).Obj()),
			want:  "delete-stray-job: CheckKey; DeleteJob(a-1)",
		},
		"a run of that name is not the one that stands for a receipt": {
			given: and(waitingBehind(made("b").UID("again").Token("again").Pending()), of(answered("r", "b", "10").Obj())),
			with:  func(c *scene) { c.change = func(o *decision.Observation) { o.Key.Spec.Pending.Token = "again" } },
			want:  "count-receipts: CheckKey; WriteStatus(b, Pending, count 1 [r]); Emit(RunCoalesced b<-r); WriteStatus(r, Coalesced, of b)",
		},
		"a receipt does not stand for another": {
			given: and(executing(made("x"), 1, "5"), of(makeKey("k").Leased("x", 1, "5").Obj(),
				answered("r", "x", "9").Age(1).Obj(), answered("q", "r", "10").Age(2).Obj())),
			want: "fill-pending: CheckRun(r); SwapKey(pending=r leased=x g1<5); Count(promotion)",
		},
		"a delivery again is not bound to a receipt": {
			given: and(waitingBehind(made("b").Pending()), of(answered("r", "b", "10").BoundTo("b").Obj(), delivered("q", "r").Key("k").Obj())),
		},
	}.run(t)
}

// P2: a claim proves that its run started after a trigger if it is based on the version of the key that the
// trigger saw, or on a later one.
func TestP2StartedAfterNeedsEvidence(t *testing.T) {
	// "b" cannot be claimed while "a" executes from version 20.
	scene := func(keyVersion string) tableCase {
		return tableCase{given: and(executing(made("a"), 1, "20"), of(makeKey("k").Leased("a", 1, "20").Pending("b").Obj(), made("b").Pending().Obj(),
			answered("r", "a", keyVersion).Obj()))}
	}
	bound, passedOn := scene("20"), scene("21")
	bound.want = "count-receipts: CheckKey; WriteStatus(a, Leased, count 1 [r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, of a)"
	passedOn.want = "count-receipts: CheckKey; WriteStatus(b, Pending, count 1 [r]); Emit(RunCoalesced b<-r); WriteStatus(r, Coalesced, of b)"
	noVersion := scene("")
	noVersion.want = passedOn.want
	promoted := "fill-pending: CheckKey; CheckRun(r); SwapKey(pending=r); Count(promotion)"
	decisions{
		"claimed from what the trigger saw":               bound,
		"claimed before, bound to the run that waits now": passedOn,
		"an admission without version proves nothing":     noVersion,
		"the key proves it before the status does": {
			given: of(makeKey("k").Leased("a", 1, "20").Obj(), made("a").Pending().Obj(), answered("r", "a", "15").Obj()),
			with:  skipping("follow-lease"),
			want:  "count-receipts: CheckKey; WriteStatus(a, Pending, count 1 [r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, of a)",
		},
		"the key proves more than the status of a lease before": {
			given: of(makeKey("k").Leased("a", 3, "20").Obj(), made("a").Leased(1, "5").Fenced().Phase(v1alpha1.PhasePending).Obj(), answered("r", "a", "15").Obj()),
			with:  skipping("follow-lease"),
			want:  "count-receipts: CheckKey; WriteStatus(a, Pending, count 1 [r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, of a)",
		},
		"the run ended before": {given: of(made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj(), answered("r", "a", "10").Obj()), want: promoted},
		"the run ended after": {
			given: of(made("a").Leased(1, "10").Ended(v1alpha1.PhaseCompleted).Obj(), answered("r", "a", "10").Obj()),
			want:  "count-receipts: CheckKey; WriteStatus(a, Completed, count 1 [r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, of a)",
		},
		"the run was cancelled before it started": {given: of(made("a").Ended(v1alpha1.PhaseCancelled).Obj(), answered("r", "a", "10").Obj()), want: promoted},
		"the run is cancelled and waits": {
			given: of(makeKey("k").Pending("a").Obj(), made("a").Pending().Cancel().Obj(), answered("r", "a", "10").Obj()),
			want:  `release-pending: CheckRun(r); SwapKey(pending=r); Count(promotion); WriteStatus(a, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled a)`,
		},
		"the run is gone": {given: of(answered("r", "a", "10").Obj()), want: promoted},
		"the lease expired and the run waits again": {
			given: of(makeKey("k").Pending("a").LastGeneration(2).Obj(), makeRun("a").Key("k").Created().Leased(1, "5").Fenced().Phase(v1alpha1.PhasePending).Obj(), answered("r", "a", "15").Obj()),
			want:  "count-receipts: CheckKey; WriteStatus(a, Pending, count 1 [r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, of a)",
		},
		"a bound receipt shares its run's fate: deletion": {given: of(answered("r", "a", "10").BoundTo("a").Obj()), want: `copy-outcome: WriteStatus(r, Coalesced, Cancelled=RunDeleted, "run a was deleted")`},
		"a bound receipt shares its run's fate: cancellation": {
			given: of(made("a").Ended(v1alpha1.PhaseCancelled).Error("cancelled on request").Reported().Obj(), answered("r", "a", "10").BoundTo("a").Obj()),
			want:  `copy-outcome: WriteStatus(r, Coalesced, Cancelled=Cancelled, "cancelled on request")`,
		},
	}.run(t)
}

// skipping blocks a step, like one that waits for a Job to stop.
func skipping(step string) func(*scene) {
	return func(c *scene) { c.change = func(o *decision.Observation) { o.Blocked[step] = true } }
}

// P3: these writes come in this order. Other operations may come between them.
func TestP3OrderOfWrites(t *testing.T) {
	for name, tc := range map[string]struct {
		tableCase
		writes string
	}{
		"entering: the key, the Job, the status": {
			tableCase{given: of(makeKey("k").Pending("a").Obj(), made("a").Obj())},
			"SwapKey(leased=a g1<10) CreateJob(a-1) WriteStatus(a, Leased, g1<10)",
		},
		"ending: the status, a look at the Job, the key": {
			tableCase{given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Obj(), makeJob(made("a").Obj(), 1).Complete().Obj())},
			"WriteStatus(a, Completed, finished g1, Complete=Completed) StopRun(a g1) SwapKey(free, or note a-1)",
		},
		"cancelling a waiting run: the key, which the claim races, then the status": {
			tableCase{given: of(makeKey("k").Pending("a").Obj(), made("a").Cancel().Obj())},
			`SwapKey(free) WriteStatus(a, Cancelled, Cancelled=Cancelled, "cancelled on request")`,
		},
		"expiring: the fence, the key with that generation, the status": {
			tableCase{
				given: of(makeKey("k").Leased("a", 1, "5").Obj(), makeRun("a").Key("k").Created().Leased(1, "5").Obj()),
				with:  func(c *scene) { c.expired = true },
			},
			"WriteStatus(a, Leased, g2<5, no holder, attempts 1) SwapKey(pending=a g2) WriteStatus(a, Pending, g2<5, no holder, attempts 1)",
		},
		"failing an expired run: the status, then the key": {
			tableCase{
				given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), makeRun("a").Key("k").Created().Leased(1, "5").Obj(), made("b").Pending().Obj()),
				with:  func(c *scene) { c.expired = true },
			},
			`WriteStatus(a, Failed, finished g1, attempts 1, Failed=LeaseExpired, "Lease expired; pending run b already exists") SwapKey(leased=b g1<10) CreateJob(b-1) WriteStatus(b, Leased, g1<10)`,
		},
		"the next run does not read Pending while the claimed run does": {
			tableCase{
				given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), makeRun("a").Key("k").Created().Pending().Obj(), made("b").Obj()),
			},
			"",
		},
		"nor while the status of the leased run has another generation": {
			tableCase{
				given: of(makeKey("k").Leased("a", 3, "5").Pending("b").Obj(), makeRun("a").Key("k").Created().Leased(1, "4").Obj(), made("b").Obj()),
			},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, tc.given...)
			if tc.with != nil {
				tc.with(c)
			}
			var writes []string
			for _, op := range decision.Decide(c.snapshot()).Ops {
				switch op.(type) {
				case decision.SwapKey, decision.WriteStatus, decision.CreateJob, decision.StopRun:
					writes = append(writes, opText(op))
				}
			}
			if got := strings.Join(writes, " "); got != tc.writes {
				t.Errorf("writes\n got %s\nwant %s", got, tc.writes)
			}
		})
	}
}

// P4: a claim takes the greater generation of key and status, plus one. The run is read live before the claim
// and before the Job.
func TestP4GenerationsSurviveStaleCaches(t *testing.T) {
	for name, tc := range map[string]struct {
		key, status, want int64
	}{
		"never leased":         {0, 0, 1},
		"leased before":        {4, 4, 5},
		"the status lags":      {4, 2, 5},
		"the key was made new": {0, 7, 8},
	} {
		t.Run(name, func(t *testing.T) {
			run := made("a").Pending()
			if tc.status > 0 {
				run.Leased(tc.status-1, "5").Fenced().Phase(v1alpha1.PhasePending)
			}
			plan := decision.Decide(newScene(t, makeKey("k").Pending("a").LastGeneration(tc.key).Obj(), run.Obj()).snapshot())
			ops := plan.Ops
			claim := slices.IndexFunc(ops, func(op decision.Op) bool { _, ok := op.(decision.SwapKey); return ok })
			create := slices.IndexFunc(ops, func(op decision.Op) bool { _, ok := op.(decision.CreateJob); return ok })
			if claim < 0 || create < 0 {
				t.Fatalf("no claim: %s", plan)
			}
			if got := ops[claim].(decision.SwapKey).Next.Leased.Generation; got != tc.want {
				t.Errorf("claimed generation %d, want %d", got, tc.want)
			}
			if got := ops[create].(decision.CreateJob).Generation; got != tc.want {
				t.Errorf("Job of generation %d, want %d", got, tc.want)
			}
			if claim > create {
				t.Errorf("%s follows %s", opText(ops[claim]), opText(ops[create]))
			}
		})
	}
}

// P5: a live read of the key precedes each status write that does not directly follow the plan's own
// compare-and-swap. Three writes do not depend on the key: the outcome of a receipt, the binding of a
// second delivery, and the end of a run that reads Leased.
func TestP5StatusWritesLookAtTheKey(t *testing.T) {
	steps := map[string]bool{}
	for name, c := range everySituation(t) {
		t.Run(name, func(t *testing.T) {
			c.rest(func(_ *scene, plan decision.Plan) {
				steps[plan.Step] = true
				if plan.Step == "copy-outcome" || plan.Step == "bind-idempotent" {
					return
				}
				guarded := false
				for _, op := range plan.Ops {
					switch op := op.(type) {
					case decision.CheckKey, decision.SwapKey:
						guarded = true
					case decision.WriteStatus:
						ends := op.Run.Status.Phase == v1alpha1.PhaseLeased && op.Status.FinishedGeneration > 0
						if idempotent := op.Status.Phase == v1alpha1.PhaseIdempotent; c.isKeyed() && !guarded && !idempotent && !ends {
							t.Errorf("%s is not guarded in %s", opText(op), plan)
						}
					}
				}
			})
		})
	}
	for _, step := range []string{"claim", "follow-lease", "release-pending", "announce-pending", "clear-stale-pending", "drop-superseded-lease", "count-receipts", "bind-counted", "cancel-waiting", "answer-bypassed", "tell-obstacle"} {
		if !steps[step] {
			t.Errorf("no situation calls for %s", step)
		}
	}
}

// everySituation returns a scene for each step, in which the step has something to do.
func everySituation(t *testing.T) map[string]*scene {
	t.Helper()
	situations := map[string]*scene{
		"claim":           newScene(t, makeKey("k").Pending("a").Obj(), made("a").Obj(), answered("r", "a", "10").Obj()),
		"stray":           newScene(t, makeKey("k").Pending("a").Obj(), made("a").Obj(), makeJob(made("a").Obj(), 4).Obj()),
		"finish":          newScene(t, makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("b").Pending().Obj(), made("a").Leased(1, "5").Obj(), makeJob(made("a").Obj(), 1).Complete().Obj()),
		"cancel leased":   newScene(t, and(of(makeKey("k").Leased("a", 1, "5").Obj()), executing(made("a").Cancel(), 1, "5"))...),
		"cancel pending":  newScene(t, makeKey("k").Pending("a").Obj(), made("a").Cancel().Obj(), answered("r", "a", "10").Obj()),
		"expire":          newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Obj()),
		"expire behind":   newScene(t, makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("a").Leased(1, "5").Obj(), made("b").Pending().Obj()),
		"fenced":          newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Fenced().Obj()),
		"two pending":     newScene(t, and(waitingBehind(made("b").Pending()), of(made("c").Pending().Obj(), made("d").Cancel().Obj()))...),
		"two leased":      newScene(t, and(of(makeKey("k").Leased("b", 1, "9").Obj()), executing(made("b"), 1, "9"), executing(made("a"), 3, "5"))...),
		"key deleted":     newScene(t, and(executing(made("a"), 3, "5"), of(made("b").Pending().Obj()))...),
		"counted":         newScene(t, and(waitingBehind(made("b").Pending().Counted("r")), of(answered("r", "b", "10").Obj(), answered("q", "b", "10").Obj()))...),
		"counted, marked": newScene(t, and(waitingBehind(made("b").Pending().Counted("r")), of(answered("r", "b", "10").Obj()))...),
		"bypassed":        newScene(t, stored("x").Obj(), stored("y").Obj(), stored("z").Skip().Obj()),
		"repeated":        newScene(t, and(waitingBehind(made("b").Pending()), of(delivered("r", "b").Key("k").Obj()))...),
	}
	blocked := newScene(t, makeKey("k").Pending("a").Obj(), made("a").Obj())
	blocked.refuse = &decision.Refusal{Message: "no quota"}
	invalid := newScene(t, makeKey("k").Pending("a").Obj(), made("a").Obj())
	invalid.refuse = &decision.Refusal{Final: true, Message: "no such field"}
	stuck := newScene(t, and(of(makeKey("k").Leased("a", 1, "5").Obj()), executing(made("a"), 1, "5"))...)
	stuck.change = func(o *decision.Observation) { o.Executions["uid-a"].Obstacle = new("no such image") }
	situations["blocked"], situations["invalid"], situations["stuck"] = blocked, invalid, stuck
	return situations
}

// P6: an unfinished Job that the key does not lease is deleted before any claim and any other step. A claim first looks for
// the Jobs that the key notes. A plan that gives a lease up notes its Job, unless the plan saw that the Job had finished.
func TestP6StrayJobs(t *testing.T) {
	for name, c := range everySituation(t) {
		t.Run(name, func(t *testing.T) {
			c.rest(func(c *scene, plan decision.Plan) {
				noted := runkey.Unconfirmed(c.keySpec())
				if plan.Step == "claim" && len(noted) > 0 {
					if op, ok := plan.Ops[0].(decision.CheckUnconfirmed); !ok || !slices.Equal(op.Jobs, noted) {
						t.Errorf("a claim without a look for the noted Jobs: %s", plan)
					}
				}
				for _, op := range plan.Ops {
					if swap, ok := op.(decision.SwapKey); ok && givesUp(c.keySpec(), swap.Next) && swap.Noted == nil && !notesMore(noted, swap.Next) {
						t.Errorf("a lease is given up without a note: %s", plan)
					}
				}
			})
		})
	}
	a, ended := made("a").Obj(), made("a").Leased(1, "3").Ended(v1alpha1.PhaseFailed).Obj()
	decisions{
		"before a claim": {
			given: of(makeKey("k").Pending("a").Obj(), a, makeJob(a, 1).Obj()),
			want:  "delete-stray-job: CheckKey; DeleteJob(a-1)",
		},
		"while another executes": {
			given: and(of(makeKey("k").Leased("b", 1, "5").Obj(), makeJob(a, 7).Obj()), executing(made("b"), 1, "5")),
			want:  "delete-stray-job: CheckKey; DeleteJob(a-7)",
		},
		"of a run that ended": {
			given: of(makeKey("k").Leased("b", 1, "5").Obj(), made("b").Obj(), made("a").Leased(1, "3").Ended(v1alpha1.PhaseFailed).Obj(), makeJob(a, 1).Obj()),
			want:  "delete-stray-job: CheckKey; DeleteJob(a-1)",
		},
		"that ends: the claim waits": {
			given: of(makeKey("k").Pending("a").Obj(), made("a").Pending().Obj(), makeJob(a, 1).Deleting().Obj()),
		},
		"noted: the claim looks for them": {
			given: of(makeKey("k").Pending("b").Unconfirmed("a-1", "token-a").Unconfirmed("c-3", "token-c").Obj(), made("b").Pending().Obj()),
			want:  `claim: CheckUnconfirmed(a-1 c-3); SwapKey(leased=b g1<10 unconfirmed=a-1,c-3); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
		"noted for long: the claim forgets them": {
			given: of(makeKey("k").Pending("b").Unconfirmed("a-1", "token-a").Obj(), made("b").Pending().Obj()),
			with:  confirmed,
			want:  `claim: CheckUnconfirmed(a-1); SwapKey(leased=b g1<10); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
		"noted for long, and nothing waits": {
			given: of(makeKey("k").Unconfirmed("a-1", "token-a").Obj(), made("x").Key("other").Obj()),
			with:  confirmed,
			want:  "confirm-jobs: CheckUnconfirmed(a-1); SwapKey(free)",
		},
		"noted a moment ago, and nothing waits": {
			given: of(makeKey("k").Unconfirmed("a-1", "token-a").Obj(), made("x").Key("other").Obj()),
		},
		"not known to all replicas: the claim lists the Jobs": {
			given: of(makeKey("k").Pending("b").Obj(), made("b").Pending().Obj()),
			with:  withoutNotes,
			want:  `claim: StopStrays; SwapKey(leased=b g1<10); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
		"the fence of an older replica may answer: the claim reads the run": {
			given: of(makeKey("k").Pending("b").Obj(), made("b").Pending().Obj()),
			with:  func(c *scene) { c.change = func(o *decision.Observation) { o.Memory = false } },
			want:  `claim: SwapKey(leased=b g1<10); CheckRun(b); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
		"not known to all replicas: none is noted": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "3").Ended(v1alpha1.PhaseFailed).Obj()),
			with:  withoutNotes,
			want:  "follow-lease: StopRun(a g1); SwapKey(free)",
		},
		"none: the next run starts with the swap that ends the lease": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), ended, made("b").Pending().Obj()),
			want:  `follow-lease: StopRun(a g1); SwapKey(leased=b g1<10, or note a-1); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
		"noted: the next run does not start with that swap": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Unconfirmed("c-1", "token-c").Obj(), ended, made("b").Pending().Obj()),
			want:  "follow-lease: StopRun(a g1); SwapKey(pending=b unconfirmed=c-1, or note a-1)",
		},
		"that executes: the next run does not start with that swap": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), ended, made("b").Pending().Obj(), makeJob(a, 1).Obj()),
			want:  "follow-lease: StopRun(a g1); SwapKey(pending=b, or note a-1)",
		},
		"of a run that is deleted with its Job": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").TTL(59).Leased(1, "3").Ended(v1alpha1.PhaseFailed).Obj()),
			want:  "follow-lease: StopRun(a g1); SwapKey(unconfirmed=a-1)",
		},
		"of a run that stays for long enough": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").TTL(120).Leased(1, "3").Ended(v1alpha1.PhaseFailed).Obj()),
			want:  "follow-lease: StopRun(a g1); SwapKey(free, or note a-1)",
		},
	}.run(t)
}

// P6: a run is claimed only if its lease may end with a note.
func TestP6RoomForNotes(t *testing.T) {
	waits, ended := made("b").Pending().Obj(), made("a").Leased(1, "3").Ended(v1alpha1.PhaseFailed).Obj()
	for name, tc := range map[string]struct {
		given []client.Object
		with  func(*scene)
		step  string
	}{
		"one more note has room":          {given: of(keyWithNotes("b", "", v1alpha1.MaxUnconfirmed-1), waits), step: "claim"},
		"no note has room":                {given: of(keyWithNotes("b", "", v1alpha1.MaxUnconfirmed), waits)},
		"the notes go with the claim":     {given: of(keyWithNotes("b", "", v1alpha1.MaxUnconfirmed), waits), with: confirmed, step: "claim"},
		"a lease waits for a note to go":  {given: of(keyWithNotes("", "a", v1alpha1.MaxUnconfirmed), ended)},
		"a note goes while a lease waits": {given: of(keyWithNotes("", "a", v1alpha1.MaxUnconfirmed), ended), with: confirmed, step: "confirm-jobs"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, tc.given...)
			if tc.with != nil {
				tc.with(c)
			}
			if plan := decision.Decide(decision.NewSnapshot(c.observe())); plan.Step != tc.step || plan.After == 0 && tc.step == "" {
				t.Errorf("step %q after %s, want %q", plan.Step, plan.After, tc.step)
			}
		})
	}
}

// keyWithNotes returns a key with a number of notes. A run waits or is leased, unless its name is empty.
func keyWithNotes(pending, leased string, notes int) *v1alpha1.RunKey {
	key := makeKey("k")
	if pending != "" {
		key.Pending(pending)
	}
	if leased != "" {
		key.Leased(leased, 1, "5")
	}
	for n := range notes {
		key.Unconfirmed(fmt.Sprintf("gone-%d", n), "token")
	}
	return key.Obj()
}

// confirmed lets a minute pass in which nothing of the noted Jobs was seen.
func confirmed(c *scene) {
	c.change = func(o *decision.Observation) { o.Confirmed = runkey.Unconfirmed(o.KeySpec()) }
}

// withoutNotes makes a replica work that does not know spec.unconfirmed.
func withoutNotes(c *scene) { c.change = func(o *decision.Observation) { o.Notes = false } }

// givesUp reports whether a swap ends a lease.
func givesUp(key, next *v1alpha1.RunKeySpec) bool {
	return runkey.Leased(key) != (runkey.Identity{}) && runkey.Leased(next) != runkey.Leased(key)
}

// notesMore reports whether a key has a note that was not there before.
func notesMore(before []v1alpha1.UnconfirmedJob, next *v1alpha1.RunKeySpec) bool {
	return slices.ContainsFunc(runkey.Unconfirmed(next), func(note v1alpha1.UnconfirmedJob) bool { return !slices.Contains(before, note) })
}

// P7: a run that was answered Created waits without a phase until the waiting place is free.
func TestP7CreatedIsNeverRefused(t *testing.T) {
	decisions{
		"its place is another's: it waits, and the key names it": {
			given: and(waitingBehind(made("b").Pending()), of(made("c").Obj())),
			want:  "mark-line: SwapKey(pending=b line=c leased=a g1<5)",
		},
		"it asked to coalesce: it waits all the same": {
			given: and(waitingBehind(made("b").Pending()), of(made("c").Skip().Obj())),
			want:  "mark-line: SwapKey(pending=b line=c leased=a g1<5)",
		},
		"it reads Pending: that is taken back": {
			given: and(waitingBehind(made("b").Pending()), of(made("c").Pending().Obj())),
			want:  `clear-stale-pending: CheckKey; WriteStatus(c, -, "waits in line for its key: another run has the waiting place")`,
		},
		"its place was another's and is free now": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Obj(), made("c").Obj()), executing(made("a"), 1, "5")),
			want:  "fill-pending: CheckRun(c); SwapKey(pending=c leased=a g1<5)",
		},
		"its create may be under way: its place is kept": {
			given: of(makeKey("k").Pending("b").Line("c").Obj(), made("c").Error("waits in line for its key: another run has the waiting place").Obj()),
			with:  func(c *scene) { c.coming = true },
		},
	}.run(t)
}

// P7: the runs that wait without the waiting place wait in line. The key names the first one, and the place goes to it
// before any trigger can reserve the place.
func TestP7Line(t *testing.T) {
	executes := executing(made("a"), 1, "5")
	decisions{
		"the order is that of the versions with which they were created": {
			given: and(executes, of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("b").Pending().Obj(),
				made("c").Stored("9").Age(1).Obj(), made("d").Stored("11").Obj(), made("e").Stored("10").Obj())),
			want: "mark-line: SwapKey(pending=b line=c leased=a g1<5)",
		},
		"a run that the key does not name yet was created before": {
			given: and(executes, of(makeKey("k").Leased("a", 1, "5").Pending("b").Line("c").Obj(), made("b").Pending().Obj(),
				made("c").Stored("9").Error("waits").Obj(), made("d").Stored("8").Obj())),
			want: "mark-line: SwapKey(pending=b line=d leased=a g1<5)",
		},
		"it is told that it waits": {
			given: and(executes, of(makeKey("k").Leased("a", 1, "5").Pending("b").Line("c").Obj(), made("b").Pending().Obj(), made("c").Obj())),
			want:  `join-line: CheckKey; WriteStatus(c, -, "waits in line for its key: another run has the waiting place")`,
		},
		"the claim of the waiting run seats the first in the same swap": {
			given: of(makeKey("k").Pending("b").Line("c").Obj(), made("b").Obj(), made("c").Stored("9").Obj(), made("d").Stored("11").Obj()),
			want: `claim: CheckRun(c); SwapKey(pending=c line=d leased=b g1<10); CreateJob(b-1); WriteStatus(b, Leased, g1<10);
				Emit(RunTriggered b); Emit(RunLeased b); Count(leased)`,
		},
		"a worker's claim left the place free": {
			given: and(executes, of(makeKey("k").Leased("a", 1, "5").Line("c").Obj(), made("c").Stored("9").Obj(), made("d").Stored("11").Obj())),
			want:  "fill-pending: CheckRun(c); SwapKey(pending=c line=d leased=a g1<5)",
		},
		"before a worker may claim the waiting run, the key names the first": {
			given: of(makeKey("k").Pending("b").Obj(), makeRun("b").Key("k").Created().Obj(), made("c").Obj()),
			want:  "mark-line: SwapKey(pending=b line=c)",
		},
		"a run whose lease ends does not overtake the line: the first is seated, and then the two contend": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Line("c").Obj(), makeRun("a").Key("k").Created().Leased(1, "5").Holder("").Obj(), made("c").Obj())),
			want:  "follow-lease: CheckRun(c); SwapKey(pending=c leased=a g1<5)",
		},
		"a batch keeps a run that left the line waiting: it is not told any more that it waits in line": {
			given: and(executes, of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(),
				made("b").Batch("b").Error("waits in line for its key: another run has the waiting place").Obj())),
			want: `join-line: CheckKey; WriteStatus(b, -, "")`,
		},
		"the key outlives its lease while a run waits in line": {
			given: of(makeKey("k").Leased("a", 1, "5").Line("c").Obj(), made("a").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Obj(), made("c").Obj()),
			want:  "follow-lease: StopRun(a g1); SwapKey(line=c, or note a-1)",
		},
		"the first has been deleted": {
			given: and(executes, of(makeKey("k").Leased("a", 1, "5").Pending("b").Line("c").Obj(), made("b").Pending().Obj())),
			want:  "mark-line: SwapKey(pending=b leased=a g1<5)",
		},
		"the first has been deleted, and nobody else waits": {
			given: of(makeKey("k").Line("c").Obj()),
			want:  "mark-line: SwapKey(free)",
		},
		"the first ends cancelled, and the next one is named": {
			given: and(executes, of(makeKey("k").Leased("a", 1, "5").Pending("b").Line("c").Obj(), made("b").Pending().Obj(),
				made("c").Stored("9").Cancel().Obj(), made("d").Stored("11").Obj())),
			want: "mark-line: SwapKey(pending=b line=d leased=a g1<5)",
		},
		"the waiting run is gone": {
			given: and(executes, of(makeKey("k").Leased("a", 1, "5").Pending("b").Line("c").Obj(), made("c").Stored("9").Obj(), made("d").Stored("11").Obj())),
			want:  "release-pending: CheckRun(c); SwapKey(pending=c line=d leased=a g1<5)",
		},
		"a receipt whose run is gone follows the run that started after it, however fast runs follow each other": {
			given: and(of(makeKey("k").Leased("a", 1, "12").Pending("b").Obj(), answered("r", "gone", "10").Obj()),
				of(made("a").Leased(1, "12").Obj(), makeJob(made("a").Obj(), 1).Obj())),
			with: func(c *scene) { c.coming = true },
			want: "count-receipts: CheckKey; WriteStatus(a, Leased, count 1 [r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, of a)",
		},
	}.run(t)
}

func TestP8Counting(t *testing.T) {
	// crowd returns a run with that many receipts to count, and with others in its recent.
	crowd := func(uncounted int, recent, marked []string) *scene {
		given := waitingBehind(made("b").Pending().Counted(recent...))
		for i := range uncounted {
			given = append(given, answered(fmt.Sprintf("r%03d", i), "b", "10").Age(i).Obj())
		}
		for _, name := range recent {
			if !slices.Contains(marked, name) {
				given = append(given, answered(name, "b", "10").Obj())
			}
		}
		return newScene(t, given...)
	}
	names := func(n int) []string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("q%02d", i)
		}
		return all
	}
	counted := func(c *scene) (count int, recent []v1alpha1.CoalescedTrigger) {
		skipping("bind-counted")(c)
		status := decision.Decide(c.snapshot()).Ops[1].(decision.WriteStatus).Status
		return int(status.Coalesced.Count), status.Coalesced.Recent
	}

	t.Run("a count takes as many as recent holds", func(t *testing.T) {
		count, recent := counted(crowd(100, nil, nil))
		if count != v1alpha1.MaxRecent || len(recent) != v1alpha1.MaxRecent {
			t.Errorf("count %d, %d recent; want %d", count, len(recent), v1alpha1.MaxRecent)
		}
	})
	t.Run("entries that are not marked keep their place", func(t *testing.T) {
		count, recent := counted(crowd(100, names(10), names(10)[:4]))
		if count != 10+v1alpha1.MaxRecent-6 || len(recent) != v1alpha1.MaxRecent {
			t.Errorf("count %d, %d recent", count, len(recent))
		}
		for _, name := range names(10)[4:] {
			if !slices.ContainsFunc(recent, func(e v1alpha1.CoalescedTrigger) bool { return e.Name == name }) {
				t.Errorf("%s left recent before it was marked", name)
			}
		}
	})
	t.Run("a full record is marked first", func(t *testing.T) {
		if plan := decision.Decide(crowd(5, names(v1alpha1.MaxRecent), nil).snapshot()); plan.Step != "bind-counted" {
			t.Errorf("not bound but %s", plan)
		}
	})
	t.Run("one that is in recent is not counted again", func(t *testing.T) {
		c := crowd(1, []string{"q"}, nil)
		if count, _ := counted(c); count != 2 {
			t.Errorf("count %d, want 2", count)
		}
	})
	t.Run("one that is in recent is bound to that run, even if it was answered with another", func(t *testing.T) {
		decisions{"": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("b").Pending().Obj()), executing(made("a").Counted("r"), 1, "5"),
				of(answered("r", "b", "4").Obj())),
			want: "bind-counted: CheckKey; CheckRun(a); WriteStatus(r, Coalesced, of a)",
		}}.run(t)
	})
	t.Run("unless that run started before", func(t *testing.T) {
		decisions{"": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("b").Pending().Obj()), executing(made("a").Counted("r"), 1, "5"),
				of(answered("r", "b", "10").Obj())),
			want: "count-receipts: CheckKey; WriteStatus(b, Pending, count 1 [r]); Emit(RunCoalesced b<-r); WriteStatus(r, Coalesced, of b)",
		}}.run(t)
	})
	t.Run("all are counted once in the end", func(t *testing.T) {
		c := crowd(200, nil, nil)
		c.rest(nil)
		if got := c.run("b").Status.Coalesced.Count; got != 200 {
			t.Errorf("count %d, want 200", got)
		}
	})
}

// P9: a JobRun that a receipt or a member of its batch still needs is kept.
func TestP9Garbage(t *testing.T) {
	run := made("a").TTL(0).Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj()
	open := answered("r", "a", "4").BoundTo("a").Obj()
	uncounted := answered("r", "a", "4").TTL(0).Obj()
	for name, tc := range map[string]struct {
		retention decision.Retention
		want      string
	}{
		"a run whose receipt has no outcome":    {decision.Retention{Run: run, Bound: []*v1alpha1.JobRun{open}, History: 100}, ""},
		"a run whose receipt is not counted":    {decision.Retention{Run: run, Unbound: []*v1alpha1.JobRun{uncounted}, History: 100}, ""},
		"a receipt that is not counted, by TTL": {decision.Retention{Run: uncounted}, ""},
		"a receipt that is not counted, by age": {decision.Retention{Run: run, Unbound: []*v1alpha1.JobRun{uncounted}}, ""},
		"no JobRun needs it":                    {decision.Retention{Run: run, History: 100}, "expire-ttl: DeleteRun(a)"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.retention.Now = wrappers.At(1e6)
			if got := decision.DecideRetention(tc.retention).String(); got != tc.want {
				t.Errorf("plan %q, want %q", got, tc.want)
			}
		})
	}
}

// P10: a second delivery follows the run of the first delivery. If there is none, it may become that run.
func TestP10IdempotencyKeysPassOn(t *testing.T) {
	decisions{
		"a second delivery needs no evidence": {
			with:  onlyRun("r"),
			given: of(keyless("a").Ended(v1alpha1.PhaseCancelled).Obj(), delivered("r", "a").Obj()),
			want:  "bind-idempotent: WriteStatus(r, Idempotent, of a)",
		},
		"its run never came: the next owner is promoted": {
			given: of(makeIdempotencyKey("i").Owner("r").Obj(), delivered("r", "a").Key("k").Obj(), delivered("s", "a").Key("k").Age(1).Obj()),
			want:  "fill-pending: CheckKey; CheckRun(r); CheckRun(r); SwapKey(pending=r); Count(promotion)",
		},
		"its run never came: the others follow the next owner": {
			given: of(makeIdempotencyKey("i").Owner("r").Obj(), delivered("r", "a").Key("k").Pending().Obj(), delivered("s", "a").Key("k").Age(1).Obj(),
				makeKey("k").Pending("r").Leased("x", 1, "5").Obj(), made("x").Leased(1, "5").Obj(), makeJob(made("x").Obj(), 1).Obj()),
			want: "bind-idempotent: WriteStatus(s, Idempotent, of r)",
		},
		"its run never came, and another run waits: it follows the owner of its key": {
			given: append(waitsBehind("w"), makeIdempotencyKey("i").Owner("s").Obj(),
				answered("r", "a", "10").IdempotencyKey("i").Obj(), delivered("s", "a").Key("k").Age(1).Obj()),
			with: func(c *scene) {
				c.change = func(o *decision.Observation) { o.Blocked["mark-line"], o.Blocked["join-line"] = true, true }
			},
			want: "bind-idempotent: WriteStatus(r, Idempotent, of s)",
		},
		"its run never came, and another run waits: that run does not count it before its key has an owner": {
			given: append(waitsBehind("w"), makeIdempotencyKey("i").Owner("a").Obj(), answered("r", "a", "10").IdempotencyKey("i").Obj()),
		},
		"its run never came, and another run waits: without an idempotencyKey that run counts it": {
			given: append(waitsBehind("w"), answered("r", "a", "10").Obj()),
			want: "count-receipts: CheckKey; WriteStatus(w, Pending, count 1 [r]); Emit(RunCoalesced w<-r); " +
				"WriteStatus(r, Coalesced, of w)",
		},
		"before the owner of the key is known, no receipt is promoted": {
			given: of(delivered("r", "a").Key("k").Obj()),
		},
	}.run(t)
	owned := makeIdempotencyKey("i").Owner("a").Obj()
	s := idempotency(t, false, owned, delivered("s", "a").Age(1).Obj(), delivered("r", "a").Obj())
	if got, want := decision.DecideIdempotencyKey(s).String(), "own-idempotency: CheckRun(r); SwapKey(owner=r)"; got != want {
		t.Errorf("plan %q, want %q", got, want)
	}
}

// P10: an idempotency key waits longer for its owner than a waiting place does, because a late first delivery would
// execute again. A key that an absorbed trigger brought passes on with the place.
func TestP10KeyPassesOnWithThePlace(t *testing.T) {
	receipt := func() *wrappers.JobRunWrapper { return answered("r", "a", "10").IdempotencyKey("i") }
	for name, tc := range map[string]struct {
		runs []client.Object
		// early and late are the plans after the two graces.
		early, late string
	}{
		"the owner may have brought it": {
			runs: of(delivered("s", "a").Key("k").Obj()),
			late: "own-idempotency: CheckRun(s); SwapKey(owner=s)",
		},
		"nobody is there who could take it": {late: "free-idempotency: SwapKey(free)"},
		"a receipt brought it": {
			runs:  of(receipt().Stored("3").Obj(), delivered("s", "a").Key("k").Stored("4").Obj()),
			early: "own-idempotency: CheckRun(r); SwapKey(owner=r)",
			late:  "own-idempotency: CheckRun(r); SwapKey(owner=r)",
		},
		"a receipt brought it, and another run counts that receipt": {
			runs:  of(receipt().BoundTo("b").Obj(), made("b").Pending().Obj()),
			early: "own-idempotency: CheckRun(b); SwapKey(owner=b)",
			late:  "own-idempotency: CheckRun(b); SwapKey(owner=b)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, append(tc.runs, makeIdempotencyKey("i").Owner("a").Obj())...)
			c.ReservationGrace, c.IdempotencyGrace = 5*time.Second, 90*time.Second
			for _, step := range []struct {
				after time.Duration
				want  string
			}{{0, ""}, {4 * time.Second, ""}, {time.Second, tc.early}, {84 * time.Second, tc.early}, {time.Second, tc.late}} {
				c.clock.Step(step.after)
				if got := decision.DecideIdempotencyKey(c.lookAtIdempotencyKey()).String(); got != step.want {
					t.Errorf("%s later: plan %q, want %q", step.after, got, step.want)
				}
			}
		})
	}
}

// P11: a key makes one transition per reconcile. A plan is the plan of one step, and swaps the key at most
// once.
func TestP11OneTransition(t *testing.T) {
	for name, c := range everySituation(t) {
		t.Run(name, func(t *testing.T) {
			c.rest(func(_ *scene, plan decision.Plan) {
				swaps := 0
				for _, op := range plan.Ops {
					if _, ok := op.(decision.SwapKey); ok {
						swaps++
					}
				}
				if swaps > 1 {
					t.Errorf("%d transitions: %s", swaps, plan)
				}
			})
		})
	}
	// Several steps have something to do. Only the first one acts.
	decisions{"": {
		given: of(makeKey("k").Leased("gone", 1, "5").Pending("b").Obj(), made("b").Pending().Cancel().Obj(), made("c").Pending().Obj(), answered("r", "b", "10").Obj()),
		want: `release-pending: CheckRun(c); SwapKey(pending=c leased=gone g1<5);
			WriteStatus(b, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled b)`,
	}}.run(t)
}

// P12: a promoted receipt is a run, although it keeps its labels and its admission.
func TestP12PromotedReceiptsAreRuns(t *testing.T) {
	promoted := func() *wrappers.JobRunWrapper {
		return answered("r", "gone", "10").Label(v1alpha1.LabelDisposition, "coalesced")
	}
	decisions{
		"it is pending": {
			given: and(waitingBehind(promoted()), of()),
			want:  "announce-pending: CheckKey; WriteStatus(r, Pending); Emit(RunTriggered r)",
		},
		"it is claimed": {
			given: of(makeKey("k").Pending("r").Obj(), promoted().Pending().Obj()),
			want: `claim: SwapKey(leased=r g1<10); CreateJob(r-1); 
				WriteStatus(r, Leased, g1<10); Emit(RunLeased r); Count(leased)`,
		},
		"it is leased": {
			given: of(makeKey("k").Leased("r", 1, "10").Obj(), promoted().Obj()),
			want: `follow-lease: CheckKey; CheckPods(r); CreateJob(r-1); WriteStatus(r, Leased, g1<10);
				Emit(RunTriggered r); Emit(RunLeased r); Count(leased)`,
		},
		"it is leased, its lease is not stored yet, and another waits": {
			given: of(makeKey("k").Leased("r", 1, "10").Pending("b").Obj(), promoted().Obj(), made("b").Pending().Obj()),
			with:  skipping("follow-lease"),
		},
		"it is pending, and others were delivered as it": {
			given: and(waitingBehind(promoted()), of(delivered("q", "r").Key("k").Obj())),
			with:  skipping("announce-pending"),
			want:  "bind-idempotent: WriteStatus(q, Idempotent, of r)",
		},
		"it is cancelled as a run": {
			given: of(makeKey("k").Pending("r").Obj(), promoted().Pending().Cancel().Obj()),
			want:  `release-pending: SwapKey(free); WriteStatus(r, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled r)`,
		},
		"it stands for others": {
			given: and(waitingBehind(promoted().Pending()), of(answered("q", "gone", "10").Age(1).Obj())),
			want:  "count-receipts: CheckKey; WriteStatus(r, Pending, count 1 [q]); Emit(RunCoalesced r<-q); WriteStatus(q, Coalesced, of r)",
		},
		"it gives others its outcome": {
			given: of(promoted().Leased(1, "10").Ended(v1alpha1.PhaseCompleted).Reported().Obj(), answered("q", "gone", "10").BoundTo("r").Obj()),
			want:  "copy-outcome: WriteStatus(q, Coalesced, Complete=Completed)",
		},
	}.run(t)
}

// An idempotency key that a receipt owns passes to the run that stands for the receipt, because a delivery
// cannot follow a receipt.
// waitsBehind returns a home in which a run waits while another one executes.
func waitsBehind(name string) []client.Object {
	return of(makeKey("k").Pending(name).Leased("x", 1, "5").Obj(), made(name).Pending().Obj(),
		made("x").Leased(1, "5").Obj(), makeJob(made("x").Obj(), 1).Obj())
}

func TestP10ReceiptHandsItsKeyOn(t *testing.T) {
	receipt, run := answered("r", "a", "10").IdempotencyKey("i").BoundTo("q").Obj(), made("q").Pending().Obj()
	plan := decision.DecideIdempotencyKey(idempotency(t, false, makeIdempotencyKey("i").Owner("r").Obj(), receipt, run))
	for _, op := range plan.Ops {
		if swap, ok := op.(decision.SwapKey); ok && runkey.Owner(swap.Next) == runkey.IdentityOf(run) {
			return
		}
	}
	t.Errorf("plan %q does not give the key to q", plan)
}
