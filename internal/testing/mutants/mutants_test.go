// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package mutants

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// patience bounds the tests of one mutant.
const patience = 10 * time.Minute

// mutant is one way to break the code. One of the tests that it names must fail.
type mutant struct {
	file     string
	from, to string
	pkg      string
	run      string // for go test -run
	checks   string // how many schedules of a property are played
}

const (
	rules      = "./internal/controller"
	simulation = "./internal/testing/simulation"
)

var mutants = map[string]mutant{
	"P1: a run is known by its name": {
		file: "internal/runkey/identity.go",
		from: `return Identity{RunName: run.Name, Token: a.Token}`,
		to:   `return Identity{RunName: run.Name, Token: run.Name}`,
		pkg:  rules, run: "^TestP1",
	},
	"P2: a receipt binds without evidence": {
		file: "internal/runkey/identity.go",
		from: `return err == nil && order >= 0`,
		to:   `return err == nil || order >= 0`,
		pkg:  rules, run: "^TestP2",
	},
	"P3: the key before the terminal status": {
		file: "internal/decision/execution.go",
		from: `	return join(
		checks,
		[]Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}},
		tellOutputLost(run, end),
		s.release(runkey.IdentityOf(run), end.generation, run.RunsAsJob()),
	)`,
		to: `	return join(
		checks,
		s.release(runkey.IdentityOf(run), end.generation, run.RunsAsJob()),
		[]Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}},
		tellOutputLost(run, end),
	)`,
		pkg: rules, run: "^TestP3",
	},
	"P4: the fence does not look at the run": {
		file: "internal/webhook/v1alpha1/fence.go",
		from: `reads.Go(func() { ofRun = h.checkRun(ctx, job) })`,
		to:   `reads.Go(func() { ofRun = nil })`,
		pkg:  simulation, run: "^TestPropertyFence$",
	},
	"P5: a run that does not read Leased ends without a look at the key": {
		file: "internal/decision/execution.go",
		from: `	if run.Status.Phase != v1alpha1.PhaseLeased {
		checks = s.checkKey()
	}`,
		to:  ``,
		pkg: rules, run: "^TestP5",
	},
	"P5: statuses without a look at the key": {
		file: "internal/decision/decide.go",
		from: `	if !s.Keyed {
		return nil
	}
	return []Op{CheckKey{}}`,
		to:  `	return nil`,
		pkg: rules, run: "^TestP5",
	},
	"P6: the fence lets every Job pass": {
		file: "internal/webhook/v1alpha1/fence.go",
		from: `switch err := h.checkLease(ctx, job); {`,
		to:   `switch err := error(nil); {`,
		pkg:  simulation, run: "^TestScheduleCreateArrivesLate$",
	},
	"P6: no note is left": {
		file: "internal/decision/unconfirmed.go",
		from: `	if !runsAsJob || !s.Notes {`,
		to:   `	if true {`,
		pkg:  simulation, run: "^TestScheduleJobIsStoredLate$",
	},
	"P6: the next run starts although nobody saw the end of the last Job": {
		file: "internal/decision/claim.go",
		from: `swap.Noted, swap.NotedIsLast = free.Noted, true`,
		to:   `swap.NotedIsLast = true`,
		pkg:  rules, run: "^TestP6",
	},
	"P6: the next run starts although a note is left": {
		file: "internal/decision/claim.go",
		from: `len(runkey.Unconfirmed(free.Next)) > 0 || s.hasUnfinishedJob()`,
		to:   `s.hasUnfinishedJob()`,
		pkg:  rules, run: "^TestP6",
	},
	"P6: the next run starts after a note": {
		file: "internal/controller/act.go",
		from: `next, a.isOver = op.Noted, op.NotedIsLast`,
		to:   `next = op.Noted`,
		pkg:  "./internal/controller", run: "^TestActStartsTheNextRun",
	},
	"P6: a note is taken back too early": {
		file: "internal/controller/observe_unconfirmed.go",
		from: `confirmPatience = time.Minute`,
		to:   `confirmPatience = time.Second`,
		pkg:  simulation, run: "^TestScheduleJobIsStoredMuchLater$",
	},
	"P6: a finished Job goes as soon as its TTL is over": {
		file: "internal/decision/retention_job.go",
		from: `left = max(left, JobLock-t.Unlocked)`,
		to:   `left = max(left, -t.Unlocked)`,
		pkg:  simulation, run: "^TestScheduleFinishedJobGoes$",
	},
	"P6: the time of a lock begins before the lease is given up": {
		file: "internal/controller/job_ttl.go",
		from: `return runkey.Leased(&key.Spec) == id || runkey.Pending(&key.Spec) == id, nil`,
		to:   `return runkey.Leased(&key.Spec) == id && runkey.Pending(&key.Spec) == id, nil`,
		pkg:  rules, run: "^TestP6",
	},
	"P6: a claim does not look for noted Jobs": {
		file: "internal/decision/unconfirmed.go",
		from: `len(noted) > 0 {`,
		to:   `len(noted) > v1alpha1.MaxUnconfirmed {`,
		pkg:  simulation, run: "^TestScheduleJobIsStoredLate$",
	},
	"P6: a worker's claim does not look for noted Jobs": {
		file: "internal/keystore/grant.go",
		from: `case len(unfinished) > 0:`,
		to:   `case len(unfinished) > v1alpha1.MaxUnconfirmed:`,
		pkg:  simulation, run: "^TestScheduleWorkerClaimsLate$",
	},
	"P6: a run is claimed without room for a note": {
		file: "internal/decision/claim.go",
		from: ` || !s.hasRoomForNote(len(s.Confirmed))`,
		to:   ``,
		pkg:  rules, run: "^TestP6",
	},
	"P6: a fenced run notes the Job of the fence": {
		file: "internal/decision/expiry.go",
		from: `s.claimedGeneration(run), run.RunsAsJob()`,
		to:   `end.generation, run.RunsAsJob()`,
		pkg:  rules, run: "^TestFinishExpiry$",
	},
	"P6: a noted Job is known by its name": {
		file: "internal/keystore/unconfirmed.go",
		from: `executor.IdentityOf(job).Token == note.Token && `,
		to:   ``,
		pkg:  rules, run: "^TestActCheckUnconfirmed$",
	},
	"P6: a finished Job of that name is enough": {
		file: "internal/controller/act_jobs.go",
		from: `case job == nil, a.s.JobIdentity(job).Token != op.Run.Token:`,
		to:   `case job == nil:`,
		pkg:  rules, run: "^TestActNotes$",
	},
	"P6: the cache shows that a Job has finished": {
		file: "internal/controller/act_jobs.go",
		from: `	err := a.Live.Get(ctx, client.ObjectKey{Namespace: a.req.Namespace, Name: name}, job)`,
		to:   `	err := a.Client.Get(ctx, client.ObjectKey{Namespace: a.req.Namespace, Name: name}, job)`,
		pkg:  rules, run: "^TestActNotes$",
	},
	"P6: a claim does not wait for a Job that ends": {
		file: "internal/decision/claim.go",
		from: `s.hasUnfinishedJob() || `,
		to:   ``,
		pkg:  rules, run: "^TestP6",
	},
	"P7: a run that was answered Created is refused": {
		file: "internal/decision/role.go",
		from: `case run.BypassedWebhook() && !run.WasRun():`,
		to:   `case run.Status.Phase == "":`,
		pkg:  rules, run: "^TestP7",
	},
	"P7: a trigger takes a free place before the line": {
		file: "internal/runkey/identity.go",
		from: `	default:
		return key.Line
`,
		to: `	default:
		return nil
`,
		pkg: simulation, run: "^TestScheduleTriggerComesWhileThePlaceIsFree$",
	},
	"P7: the key does not name the first in line": {
		file: "internal/decision/line.go",
		from: `	return s.swapKey(runkey.LineUp(s.KeySpec(), first, s.Now))`,
		to:   `	return nil`,
		pkg:  rules, run: "^TestP7",
	},
	"P7: the latest run is the first in line": {
		file: "internal/decision/line.go",
		from: `v1alpha1.CompareStored(run, first) < 0`,
		to:   `v1alpha1.CompareStored(run, first) > 0`,
		pkg:  rules, run: "^TestP7",
	},
	"P7: a claim leaves the place free": {
		file: "internal/decision/claim.go",
		from: `if first := s.firstInLine(nil); first != nil {`,
		to:   `if first := s.firstInLine(nil); first != nil && false {`,
		pkg:  rules, run: "^TestP7",
	},
	"P7: a receipt waits for a run that it never sees waiting": {
		file: "internal/decision/standing.go",
		from: `s.isAccepting(leased) && s.startsAfter(leased, receipt)`,
		to:   `false`,
		pkg:  rules, run: "^TestP7",
	},
	"P8: entries go before their receipts are marked": {
		file: "internal/decision/status.go",
		from: `if excess <= 0 || !marked[entry.UID] {`,
		to:   `if excess <= 0 {`,
		pkg:  "./internal/decision", run: ".",
	},
	"P9: a run goes before its receipts have an outcome": {
		file: "internal/decision/retention.go",
		from: `case !kept || t.isAwaited():`,
		to:   `case !kept:`,
		pkg:  rules, run: "^TestP9",
	},
	"P9: a run goes before a delivery that was answered with another run": {
		file: "internal/controller/jobrun_controller.go",
		from: `{r.awaitsMemory, r.awaitsDelivery, r.awaitsSchedule}`,
		to:   `{r.awaitsMemory, r.awaitsSchedule}`,
		pkg:  simulation, run: "^TestScheduleRunWaitsForADelivery$",
	},
	"P9: what a run must wait for is listed after its receipts": {
		file: "internal/controller/jobrun_controller.go",
		from: `	awaited := false
	if left, kept := t.TimeToLive(); kept && left <= 0 {
		var err error
		if awaited, err = r.isAwaited(ctx, run); err != nil {
			return 0, err
		}
	}
	var err error
	if t.Unbound, t.Bound, err = r.observeReceipts(ctx, run); err != nil { // After isAwaited: a delivery that is bound in between is one of them (P9).
		return 0, err
	}
`,
		to: `	var err error
	if t.Unbound, t.Bound, err = r.observeReceipts(ctx, run); err != nil { // After isAwaited: a delivery that is bound in between is one of them (P9).
		return 0, err
	}
	awaited := false
	if left, kept := t.TimeToLive(); kept && left <= 0 {
		var err error
		if awaited, err = r.isAwaited(ctx, run); err != nil {
			return 0, err
		}
	}
`,
		pkg: simulation, run: "^TestScheduleDeliveryIsBoundDuringTheRetention$",
	},
	"P9: a delivery is bound to an ended run without its outcome": {
		file: "internal/decision/receipts.go",
		from: `	if !isComplete(run) {
		return status`,
		to: `	if true {
		return status`,
		pkg: simulation, run: "^TestScheduleDeliveryIsBoundWithTheOutcome$",
	},
	"P9: a delivery is bound to a run that was read before it came": {
		file: "internal/decision/receipts.go",
		from: `		if s.cameLate(receipt) {`,
		to:   `		if s.cameLate(receipt) && false {`,
		pkg:  simulation, run: "^TestScheduleDeliveryComesDuringALook$",
	},
	"P9: the run of a schedule goes before its time is stored": {
		file: "internal/controller/jobrun_controller.go",
		from: `{r.awaitsMemory, r.awaitsDelivery, r.awaitsSchedule}`,
		to:   `{r.awaitsMemory, r.awaitsDelivery}`,
		pkg:  rules, run: "^TestRetentionKeepsTheRunOfATick$",
	},
	"P9: the receipt of a schedule goes before its time is stored": {
		file: "internal/controller/jobrun_controller.go",
		from: `held[receipt.UID] = awaited || len(unbound) > 0`,
		to:   `held[receipt.UID] = awaited && len(unbound) > 0`,
		pkg:  rules, run: "^TestRetentionKeepsTheReceiptOfATick$",
	},
	"P9: the history of a definition does not wait for receipts": {
		file: "internal/decision/history.go",
		from: `if t.isAwaited() || slices`,
		to:   `if slices`,
		pkg:  rules, run: "^TestHistory$",
	},
	"P6: the history of a definition takes the lock of a Job": {
		file: "internal/decision/history.go",
		from: `left > 0 && t.Run.RunsAsJob()`,
		to:   `left > JobLock && t.Run.RunsAsJob()`,
		pkg:  rules, run: "^TestHistory$",
	},
	"P10: an idempotency key gets no next owner": {
		file: "internal/decision/idempotency.go",
		from: `switch next, delivery := s.nextOwner(); {`,
		to:   `switch next, delivery := s.Run(runkey.Identity{}), s.Run(runkey.Identity{}); {`,
		pkg:  rules, run: "^TestP10",
	},
	"P10: a later run counts a receipt whose key another delivery may own": {
		file: "internal/decision/standing.go",
		from: `	if s.idempotencyKeyDecides(receipt) {
		return nil //`,
		to: `	if false {
		return nil //`,
		pkg: rules, run: "^TestP10",
	},
	"P10: an idempotency key passes on with the place of a late first delivery": {
		file: "internal/decision/idempotency.go",
		from: `s.Gone[id] && s.wasBroughtToAnother(id)`,
		to:   `s.Gone[id]`,
		pkg:  rules, run: "^TestP10",
	},
	"P10: an idempotency key outlasts the place of a run that did not bring it": {
		file: "internal/decision/idempotency.go",
		from: `s.Gone[id] && s.wasBroughtToAnother(id)`,
		to:   `false`,
		pkg:  rules, run: "^TestP10",
	},
	"P11: two transitions in one reconcile": {
		file: "internal/decision/decide.go",
		from: `func Decide(s *Snapshot) Plan {
	for _, step := range steps {
		if s.Blocked[step.name] {
			continue
		}
		if ops := step.decide(s); len(ops) > 0 {
			return Plan{Step: step.name, Ops: withOwnCount(s.withBatchDecision(ops)), After: s.LookAgain()}
		}
	}
	return Plan{After: s.LookAgain()}`,
		to: `func Decide(s *Snapshot) Plan {
	all := Plan{After: s.LookAgain()}
	for _, step := range steps {
		if ops := step.decide(s); len(ops) > 0 && !s.Blocked[step.name] {
			all.Step, all.Ops = step.name, append(all.Ops, ops...)
		}
	}
	return all`,
		pkg: rules, run: "^TestP11",
	},
	"P12: a receipt is known by its admission": {
		file: "internal/decision/role.go",
		from: `	case run.IsReceipt():
		return true
	case run.Status.Phase == v1alpha1.PhasePending:`,
		to: `	case run.WasAbsorbed():
		return true
	case run.Status.Phase == v1alpha1.PhasePending:`,
		pkg: rules, run: "^TestP12",
	},
	"P13: nothing is remembered of a Job that goes": {
		file: "internal/controller/seen_jobs.go",
		from: `	if !executor.ExecutesRun(job) {
		return
	}
	s.mu.Lock()`,
		to: `	if job != nil {
		return
	}
	s.mu.Lock()`,
		pkg: simulation, run: "^TestPropertyJobs$",
	},
	"P13: the end of a Job that is being deleted counts": {
		file: "internal/executor/facts.go",
		from: `if end == nil || job.DeletionTimestamp == nil {`,
		to:   `if end == nil || job.UID != "" {`,
		pkg:  rules, run: "^TestP13",
	},
	"P13: a Job that a list found missing is believed to have ended": {
		file: "internal/controller/seen_jobs.go",
		from: `		s.depart(before, executor.OwnEnd(before) != nil)
`,
		to: `		s.depart(before, executor.OwnEnd(before) != nil || before.DeletionTimestamp == nil)
`,
		pkg: rules, run: "^TestJobWatch$",
	},
	"P13: the order of the events does not count": {
		file: "internal/controller/seen_jobs.go",
		from: `		s.depart(before, true)
	default:`,
		to: `		s.depart(after, executor.OwnEnd(after) != nil)
	default:`,
		pkg: rules, run: "^TestP13",
	},
	"P13: a Job is lost at once": {
		file: "internal/controller/observe_execution.go",
		from: `const lossPatience = 5 * time.Second`,
		to:   `const lossPatience = 0 * time.Second`,
		pkg:  rules, run: "^TestJobGone$",
	},
	"P13: a loss is not checked before the write": {
		file: "internal/controller/act.go",
		from: `		return a.confirmLoss(op.Run)`,
		to:   `		return nil`,
		pkg:  rules, run: "^TestP13",
	},
	"P13: a generation gets a second Job": {
		file: "internal/controller/act_jobs.go",
		from: `seen, _ := a.jobs.ofGeneration(op.Run.UID, op.Generation)`,
		to:   `seen, _ := a.jobs.ofGeneration(op.Run.UID, op.Generation+1)`,
		pkg:  rules, run: "^TestP13",
	},
	"P13: a run executes again in spite of onJobLost": {
		file: "internal/decision/expiry.go",
		from: `	if run.Spec.OnJobLost == v1alpha1.OnJobLostFail {
		return s.failRun(`,
		to: `	if run.Spec.OnJobLost == "" {
		return s.failRun(`,
		pkg: simulation, run: "^TestPropertyJobs$",
	},
	"P13: an output is lost without a word": {
		file: "internal/decision/ending.go",
		from: `if e.OutputLost {`,
		to:   `if e.OutputLost && e.Output != nil {`,
		pkg:  rules, run: "^TestP13",
	},
	"P13: a Job of that name is judged by the name of its run": {
		file: "internal/controller/act_jobs.go",
		from: `		if err := a.checkExists(ctx, run); err != nil {
			return err
		}
`,
		to:  ``,
		pkg: rules, run: "^TestP13",
	},
	"P14: what is restored is answered as a trigger": {
		file: "internal/webhook/v1alpha1/create.go",
		from: `restore := restoreOf(run); restore != ""`,
		to:   `restore := restoreOf(run); restore == "?"`,
		pkg:  simulation, run: "^TestPropertyRestored$",
	},
	"P14: what is restored keeps its token": {
		file: "internal/webhook/v1alpha1/restored.go",
		from: `token := h.newToken()`,
		to:   `token := run.Spec.Admission.Token`,
		pkg:  simulation, run: "^TestPropertyRestored$",
	},
	"P14: what is restored gets its idempotency key": {
		file: "internal/decision/idempotency.go",
		from: `	if run.WasRestored() {`,
		to:   `	if false {`,
		pkg:  simulation, run: "^TestPropertyRestored$",
	},
	"I1: the status before the key": {
		file: "internal/decision/claim.go",
		from: `		checks,
		s.swapKey(next),`,
		to: `		checks,
		[]Op{WriteStatus{run, leasedStatus(run, generation, version, s.Now)}},
		s.swapKey(next),`,
		pkg: simulation, run: "^TestPropertyCalm$",
	},
	"I1: the waiting run is announced before its predecessor has left": {
		file: "internal/decision/waiting.go",
		from: `|| !s.isAccepting(run) || !s.isPredecessorStored() {`,
		to:   `|| !s.isAccepting(run) {`,
		pkg:  rules, run: ".",
	},
	"I2: the cache is enough to coalesce": {
		file: "internal/keystore/admit.go",
		from: `	return answer.Verdict == runkey.Reserved && next != nil && !a.dryRun &&
		(`,
		to:  `	return true || next == nil || (`,
		pkg: "./internal/keystore", run: ".",
	},
	"I2: a receipt without a run is left alone": {
		file: "internal/decision/waiting.go",
		from: `	case RoleOrphaned:
		return 3`,
		to: `	case RoleOrphaned:
		return 0`,
		pkg: rules, run: ".",
	},
	"I3: what is counted already is counted again": {
		file: "internal/decision/absorb.go",
		from: `if s.runToCountOn(receipt) == run && hasCounted(run, receipt.UID) == counted {`,
		to:   `if s.runToCountOn(receipt) == run && (!counted || hasCounted(run, receipt.UID)) {`,
		pkg:  rules, run: "^TestP8",
	},
	"I3: a receipt that represents several triggers counts as one": {
		file: "internal/decision/status.go",
		from: `counted.Count+represented(receipts)`,
		to:   `counted.Count+int64(len(receipts))`,
		pkg:  simulation, run: "^TestScheduleRunRepresentsSeveral$",
	},
	"I3: a run does not count what it represents": {
		file: "internal/decision/represents.go",
		from: `		write.Status.Coalesced = ownCount(write.Run)
`,
		to:  ``,
		pkg: simulation, run: "^TestScheduleRunRepresentsSeveral$",
	},
	"I3: a run that counts a receipt first does not count what it represents": {
		file: "internal/decision/status.go",
		from: `cmp.Or(status.Coalesced, ownCount(run), &v1alpha1.CoalescedTriggers{})`,
		to:   `cmp.Or(status.Coalesced, &v1alpha1.CoalescedTriggers{})`,
		pkg:  simulation, run: "^TestScheduleRunCountsBeforeItsPhase$",
	},
	"I3: what a receipt represents is counted on the receipt, too": {
		file: "internal/decision/represents.go",
		from: ` || !isPhaseOfRun(write.Status.Phase) {`,
		to:   ` {`,
		pkg:  simulation, run: "^TestScheduleRunRepresentsSeveral$",
	},
	"I3: a run counts itself": {
		file: "internal/decision/represents.go",
		from: `Count: run.Represented() - 1}`,
		to:   `Count: run.Represented()}`,
		pkg:  simulation, run: "^TestScheduleReceiptOfNobodyIsPromoted$",
	},
	"P9: a receipt that represents several triggers is trimmed too early": {
		file: "internal/decision/represents.go",
		from: `if after := sparedFor(receipt, now); after > 0 {`,
		to:   `if after := sparedFor(receipt, now); after > spared {`,
		pkg:  simulation, run: "^TestScheduleReceiptIsSentAgain$",
	},
	"P9: a run that represents several triggers goes when its TTL is over": {
		file: "internal/decision/retention.go",
		from: `max(ttl-max(t.Now.Sub(since), t.Seen), sparedFor(t.Run, t.Now))`,
		to:   `ttl - max(t.Now.Sub(since), t.Seen)`,
		pkg:  simulation, run: "^TestScheduleRunIsSentAgain$",
	},
	"P9: the history of a definition does not spare what represents several triggers": {
		file: "internal/decision/history.go",
		from: `left = max(left, sparedFor(receipt, t.Now))`,
		to:   `left = max(left, sparedFor(receipt, t.Now)-spared)`,
		pkg:  rules, run: "^TestHistory$",
	},
	"one caller cancels the triggers of others": {
		file: "internal/webhook/v1alpha1/represents.go",
		from: `old.Spec.Represents == nil || old.CancelRequested()`,
		to:   `true || old.CancelRequested()`,
		pkg:  "./internal/webhook/v1alpha1", run: "^TestUpdateCancelsNoneOfSeveral$",
	},
	"I4: a claim does not raise the generation": {
		file: "internal/runkey/transition.go",
		from: `max(key.Pending.Generation, last) + 1,`,
		to:   `max(key.Pending.Generation, last, 1),`,
		pkg:  simulation, run: "^TestPropertyCalm$",
	},
	"I4: the Job before the key": {
		file: "internal/decision/claim.go",
		from: `		s.swapKey(next),
		s.checkRunForOldFence(run),
		[]Op{CreateJob{run, generation, version}},`,
		to: `		s.checkRunForOldFence(run),
		[]Op{CreateJob{run, generation, version}},
		s.swapKey(next),`,
		pkg: simulation, run: "^TestPropertyCalm$",
	},
	"definitions: a run starts although its definition holds it back": {
		file: "internal/decision/claim.go",
		from: ` && s.isAccepting(run) && s.holdsBack(run) == ""`,
		to:   ` && s.isAccepting(run)`,
		pkg:  "./internal/decision", run: "^TestDefinitionHoldsBack$",
	},
	"definitions: a worker claims although the definition holds the run back": {
		file: "internal/webhook/v1alpha1/worker_claim.go",
		from: `why := executor.HoldsBack(found, run); why != ""`,
		to:   `why := executor.HoldsBack(found, run); why == "?"`,
		pkg:  "./internal/webhook/v1alpha1", run: "^TestClaimOfADefinedRun$",
	},
	"definitions: one that the cache does not show yet counts as gone": {
		file: "internal/cache/definition.go",
		from: `	return ReadDefinition(ctx, live, name)`,
		to:   `	return nil, nil`,
		pkg:  "./internal/controller", run: "^TestDefinitionIsReadLive$",
	},
	"definitions: a wrong clock stops a schedule": {
		file: "internal/decision/definition.go",
		from: `known.LastScheduleTime = nil // Otherwise`,
		to:   `// Otherwise`,
		pkg:  "./internal/decision", run: "^TestAClockThatWasAhead$",
	},
	"definitions: what a wrong clock has stored is caught up": {
		file: "internal/decision/definition.go",
		from: `return d.Now.Time // A rare`,
		to:   `return handled // A rare`,
		pkg:  "./internal/decision", run: "^TestAClockThatWasAhead$|^TestDueTicks$",
	},
	"definitions: a trigger is completed while an older replica works": {
		file: "internal/webhook/v1alpha1/complete.go",
		from: `found != nil && !h.defines()`,
		to:   `found != nil && !inline && !h.defines()`,
		pkg:  "./internal/webhook/v1alpha1", run: "^TestCreateWaitsForOlderReplicas$",
	},
	"definitions: a schedule triggers while an older replica works": {
		file: "internal/controller/definition_ticks.go",
		from: `d.Defines != nil && !d.Defines()`,
		to:   `d.Defines == nil`,
		pkg:  rules, run: "^TestATickWaitsForOlderReplicas$",
	},
	"definitions: an older replica counts as one that knows them": {
		file: "internal/membership/roster.go",
		from: `		level = min(level, levelOf(lease))`,
		to:   `		level = max(level, levelOf(lease))`,
		pkg:  "./internal/membership", run: "^TestLevel$",
	},
	"definitions: a leader of a former version counts as one that knows them": {
		file: "internal/membership/roster.go",
		from: `	return formerLevel
}`,
		to: `	return level
}`,
		pkg: "./internal/membership", run: "^TestLevel$",
	},
	"definitions: a change of one wakes no run": {
		file: "internal/controller/request.go",
		from: `		return r.requestsForDefinition(ctx, object)`,
		to:   `		return nil`,
		pkg:  simulation, run: "^TestPropertyDefined$",
	},
	"I5: an expired run takes the place of the waiting one": {
		file: "internal/runkey/transition.go",
		from: `if Pending(key) != (Identity{}) {`,
		to:   `if key == nil {`,
		pkg:  "./internal/runkey", run: ".",
	},
	"I5: an expired run takes the place of one that did not ask to be absorbed": {
		file: "internal/decision/displace.go",
		from: `v1alpha1.OnLeaseExpiredRequeue && runkey.PolicyOf(waiting.Spec.Coalesce).GivesWay`,
		to:   `v1alpha1.OnLeaseExpiredRequeue || runkey.PolicyOf(waiting.Spec.Coalesce).GivesWay`,
		pkg:  simulation, run: "^TestPropertyRequeue$",
	},
	"I3: receipts stay with a run that became a receipt": {
		file: "internal/decision/role.go",
		from: `return RoleMisbound`,
		to:   `return RoleBound`,
		pkg:  simulation, run: "^TestPropertyRequeue$",
	},
	"I3: a run that was displaced and counted executes": {
		file: "internal/decision/role.go",
		from: `return hasItsPlace && run.RefersToItself()`,
		to:   `return hasItsPlace && !run.RefersToItself()`,
		pkg:  rules, run: "^TestFinishDisplacement$",
	},
	"I6: an idempotency key is reserved by everybody": {
		file: "internal/runkey/reserve.go",
		from: `	default:
		return Answer{Verdict: Delivered, Run: current}`,
		to: `	default:
		return Answer{Verdict: Reserved, Run: owner}`,
		pkg: simulation, run: "^TestPropertyCalm$",
	},
	"I7: a dry run reserves": {
		file: "internal/keystore/admit.go",
		from: `if next == nil || a.dryRun {`,
		to:   `if next == nil {`,
		pkg:  "./internal/keystore", run: ".",
	},
	"refusal: a reservation is called a waiting run": {
		file: "internal/webhook/v1alpha1/reserved.go",
		from: `	case exists:`,
		to:   `	case exists || true:`,
		pkg:  "./internal/webhook/v1alpha1", run: ".",
	},
	"refusal: another run of the name is taken for the missing one": {
		file: "internal/keystore/name.go",
		from: `return stored == id, err`,
		to:   `return stored.RunName == id.RunName, err`,
		pkg:  "./internal/keystore", run: ".",
	},
	"refusal: the cache is enough to call a quota full": {
		file: "internal/webhook/v1alpha1/quota.go",
		from: `refusal := cache.QuotaRefusal(quota); refusal != "" {`,
		to:   `refusal := cache.QuotaRefusal(quota); true {`,
		pkg:  "./internal/webhook/v1alpha1", run: ".",
	},
	"batch: a member starts before its batch": {
		file: "internal/decision/claim.go",
		from: `run.RunsAsJob() && s.isAccepting(run)`,
		to:   `run.RunsAsJob() && s.isOpen(run)`,
		pkg:  simulation, run: "^TestPropertyCalm$",
	},
	"batch: receipts bind to a member that may be withdrawn": {
		file: "internal/decision/standing.go",
		from: `run.IsReceipt() || !s.hasStarted(run) {`,
		to:   `run.IsReceipt() {`,
		pkg:  simulation, run: "^TestPropertyCalm$",
	},
	"batch: a batch starts without its last member": {
		file: "internal/decision/batch.go",
		from: `return n >= int(`,
		to:   `return n+1 >= int(`,
		pkg:  simulation, run: "^TestPropertyCalm$",
	},
	"claim: a run with a key is claimed before it reads Pending": {
		file: "api/v1alpha1/jobrun_facts.go",
		from: `alone := r.Spec.ConcurrencyKey == "" && r.Spec`,
		to:   `alone := r.Spec`,
		pkg:  "./pkg/holder", run: "^TestClaimable$",
	},
	"claim: a run of a definition is claimed before it reads Pending": {
		file: "api/v1alpha1/jobrun_facts.go",
		from: `!r.WasAbsorbed() && r.Spec.Admission.Definition == nil`,
		to:   `!r.WasAbsorbed()`,
		pkg:  "./pkg/holder", run: "^TestClaimable$",
	},
	"claim: granted though another run executes": {
		file: "internal/runkey/transition.go",
		from: `if key == nil || key.Pending == nil || key.Leased != nil {`,
		to:   `if key == nil || key.Pending == nil {`,
		pkg:  "./internal/runkey", run: "^TestGrant$",
	},
	"claim: a grant that is being taken back is never granted again": {
		file: "internal/runkey/transition.go",
		from: `run.LeaseGeneration() <= key.Leased.Generation`,
		to:   `run.LeaseGeneration() < key.Leased.Generation`,
		pkg:  "./internal/runkey", run: "^TestGrant$",
	},
	"claim: granted again under another generation": {
		file: "internal/keystore/grant.go",
		from: `case next.Leased.Generation != generation:`,
		to:   `case next.Leased.Generation < 0:`,
		pkg:  "./internal/keystore", run: "^TestGrant$",
	},
	"claim: taken back without a fence": {
		file: "internal/decision/execution.go",
		from: `return join(s.checkKey(), []Op{WriteStatus{run, status}}, s.swapKey(next))`,
		to: `_ = status
	return join(s.checkKey(), s.swapKey(next))`,
		pkg: simulation, run: "^TestPropertyStorm$",
	},
	"deadline: a run with a Job has none but the Job's": {
		file: "internal/decision/execution.go",
		from: `case run.RunsAsJob() && e.Overdue && !hasFinished:`,
		to:   `case run.RunsAsJob() && e.Overdue && hasFinished:`,
		pkg:  simulation, run: "^TestPropertyDeadline$",
	},
	"deadline: nothing wakes the controller for it": {
		file: "internal/decision/snapshot.go",
		from: `Sooner(e.ClaimLeft, e.DeadlineLeft)`,
		to:   `e.ClaimLeft`,
		pkg:  simulation, run: "^TestPropertyDeadline$",
	},
	"P10: the TTL counts half": {
		file: "internal/runkey/memory.go",
		from: `now.Add(TermsIn(key).TTL() + `,
		to:   `now.Add(TermsIn(key).TTL()/2 + `,
		pkg:  "./internal/runkey", run: "^TestRemember$",
	},
	"P10: whole seconds shorten the TTL": {
		file: "internal/runkey/memory.go",
		from: ` + time.Second - 1)`,
		to:   `)`,
		pkg:  "./internal/runkey", run: "^TestRemember$",
	},
	"P10: a key is forgotten a sweep too early": {
		file: "internal/decision/idempotency.go",
		from: `case left > 0:`,
		to:   `case left > s.Sweep:`,
		pkg:  simulation, run: "^TestPropertyMemory$",
	},
	"P10: a key remembers only runs that are gone": {
		file: "internal/decision/idempotency.go",
		from: `case end != nil && runkey.AwaitsOutcome(key):`,
		to:   `case end != nil && runkey.AwaitsOutcome(key) && s.Run(runkey.Owner(key)) == nil:`,
		pkg:  simulation, run: "^TestPropertyMemory$",
	},
	"P10: a run is deleted before its key remembers it": {
		file: "internal/controller/jobrun_controller.go",
		from: `{r.awaitsMemory, r.awaitsDelivery, r.awaitsSchedule}`,
		to:   `{r.awaitsDelivery, r.awaitsSchedule}`,
		pkg:  simulation, run: "^TestScheduleRunWaitsForItsKey$",
	},
	"P10: a run that completes releases its key": {
		file: "internal/runkey/memory.go",
		from: `(end == v1alpha1.PhaseFailed || end == v1alpha1.PhaseCancelled)`,
		to:   `end != ""`,
		pkg:  simulation, run: "^TestPropertyMemory$",
	},
	"P10: a cancelled run keeps its key": {
		file: "internal/runkey/memory.go",
		from: `(end == v1alpha1.PhaseFailed || end == v1alpha1.PhaseCancelled)`,
		to:   `end == v1alpha1.PhaseFailed`,
		pkg:  "./internal/runkey", run: "^TestReleasesAfter$",
	},
	"P10: a failed run keeps its key": {
		file: "internal/decision/idempotency.go",
		from: `case end != nil && runkey.TermsIn(key).ReleasesAfter(end.Phase):`,
		to:   `case end != nil && s.Run(runkey.Owner(key)) == nil && runkey.TermsIn(key).ReleasesAfter(end.Phase):`,
		pkg:  simulation, run: "^TestPropertyMemory$",
	},
	"P10: a name takes over what its key remembers": {
		file: "internal/runkey/reserve.go",
		from: `TermsIn(key).TTLSeconds == 0 && owner == t.Run`,
		to:   `owner == t.Run`,
		pkg:  simulation, run: "^TestPropertyMemory$",
	},
	"P10: a run gets the idempotencyKey of another one from a trigger of its name": {
		file: "internal/runkey/reserve.go",
		from: `TermsIn(key).TTLSeconds == 0 && owner == t.Run`,
		to:   `TermsIn(key).TTLSeconds == 0`,
		pkg:  simulation, run: "^TestScheduleAbsorbedTriggerLeavesTheKeyToItsName$",
	},
	"P10: a run gets a released key back": {
		file: "internal/decision/idempotency.go",
		from: `s.Key == nil || runkey.Owner`,
		to:   `runkey.Owner`,
		pkg:  rules, run: "^TestP10ReleasedKeyStaysFree$",
	},
	"P10: a receipt does not get what its key remembers": {
		file: "internal/decision/recall.go",
		from: `return s.remembered(receipt) != nil && `,
		to:   `return s.remembered(receipt) != nil && s.remembered(receipt).Phase == "" && `,
		pkg:  simulation, run: "^TestPropertyMemory$",
	},
	"P10: a promoted trigger leaves its key": {
		file: "internal/decision/idempotency.go",
		from: `case promoted != nil:`,
		to:   `case promoted != nil && end == nil:`,
		pkg:  rules, run: "^TestP10EndOfTheOwner$",
	},
	"P10: the end of a deleted run is not noted": {
		file: "internal/controller/jobrun_controller.go",
		from: `		r.noteEnd(object)
`,
		to:  ``,
		pkg: rules, run: "^TestP10EndOfADeletedOwner$",
	},
	"P10: a bound receipt does not wait for its key": {
		file: "internal/decision/recall.go",
		from: `return nil, runkey.AwaitsOutcome(key) && owner`,
		to:   `return nil, runkey.Remembered(key) != nil && owner`,
		pkg:  rules, run: "^TestP10Recall$",
	},
	"P10: the terms of a delivery are lost": {
		file: "internal/webhook/v1alpha1/create.go",
		from: `trigger.Terms, trigger.Request = runkey.TermsOf(run), string(req.UID)`,
		to:   `trigger.Request = string(req.UID)`,
		pkg:  simulation, run: "^TestPropertyMemory$",
	},
	"P10: a second delivery changes the terms of the first": {
		file: "internal/decision/idempotency.go",
		from: `return bound, bringer(bound, run)`,
		to:   `return bound, run`,
		pkg:  simulation, run: "^TestScheduleKeyPassesOnToTheRunThatBroughtIt$",
	},
	"P5: an obstacle without a look at the key": {
		file: "internal/decision/obstacle.go",
		from: `ops := join(s.checkKey(), []Op{WriteStatus{run, status}})`,
		to:   `ops := []Op{WriteStatus{run, status}}`,
		pkg:  rules, run: "^TestP5",
	},
	"obstacle: every number is worth a write": {
		file: "internal/decision/obstacle.go",
		from: `return a == b || number.ReplaceAllString(a, "0") == number.ReplaceAllString(b, "0")`,
		to:   `return a == b`,
		pkg:  rules, run: "^TestObstacle",
	},
	"obstacle: a text that changes all the time is always written": {
		file: "internal/controller/observe_obstacle.go",
		from: `seen < retellDelay {`,
		to:   `seen < 0 {`,
		pkg:  rules, run: "^TestObstacle",
	},
	"obstacle: one that passes by itself is told": {
		file: "internal/controller/observe_obstacle.go",
		from: `o.sightings.unchangedFor(obstacleSubject(run.UID), true); seen < obstacleDelay {`,
		to:   `o.sightings.unchangedFor(obstacleSubject(run.UID), true); seen < 0 {`,
		pkg:  rules, run: "^TestObstacle",
	},
	"obstacle: a granted claim is written over": {
		file: "internal/decision/obstacle.go",
		from: `s.leased == (runkey.Identity{}) && s.isAccepting(run)`,
		to:   `(s.leased == (runkey.Identity{}) || s.isAccepting(run))`,
		pkg:  "./internal/decision", run: "^TestTellObstacle$",
	},
	"output: some of the Pods tell for all": {
		file: "internal/executor/output.go",
		from: `return shown >= max(counted, 1)`,
		to:   `return shown >= min(counted, 1)`,
		pkg:  "./internal/executor", run: "^TestShowEnd$",
	},
	"output: deleted Pods are forgotten": {
		file: "internal/controller/observe_pods.go",
		from: `	known.add(o.ended.of(runkey.IdentityOf(run).Token, job.UID)...)`,
		to:   `	known.add(o.ended.of(runkey.IdentityOf(run).Token, run.UID)...)`,
		pkg:  rules, run: "^TestEndOfDeletedPods$",
	},
	"I8: the cache proves that no Pod runs": {
		file: "internal/controller/observe_execution.go",
		from: `r.Live.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelRun: id.RunName})`,
		to:   `r.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelRun: id.RunName})`,
		pkg:  rules, run: "^TestJobGone$",
	},
	"I8: a Job that is gone proves that its Pods are": {
		file: "internal/controller/act_jobs.go",
		from: `	return a.checkPods(ctx, op.Run)
}`,
		to: `	return nil
}`,
		pkg: rules, run: "^TestActStopRun$",
	},
	"kstatus: an outcome that a client misstates is left": {
		file: "internal/decision/ending.go",
		from: `	case run.MisstatesOutcome():`,
		to:   `	case false:`,
		pkg:  "./internal/decision", run: "^TestOutcomesAreRestated$",
	},
	"kstatus: a status without Ready": {
		file: "internal/decision/status.go",
		from: `	setReadiness(&status, run)
	return status`,
		to:  `	return status`,
		pkg: rules, run: "^TestP",
	},
}

// TestMutants breaks the code in one way for each of its subtests. They run side by side, because the linker uses one core.
func TestMutants(t *testing.T) {
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	edits := map[string]Edit{}
	for name, m := range mutants {
		edits[name] = Edit{m.file, m.from, m.to}
	}
	texts, alone, err := Combine(root, edits)
	if err != nil {
		t.Fatal(err)
	}
	combined, err := writeOverlay(t.TempDir(), texts)
	if err != nil {
		t.Fatal(err)
	}
	binaries := build{root: root, overlay: combined, dir: t.TempDir()}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			binary := binaries.of
			if slices.Contains(alone, name) {
				overlay, err := Overlay(root, t.TempDir(), edits[name])
				if err != nil {
					t.Fatal(err)
				}
				binary = (&build{root: root, overlay: overlay, dir: t.TempDir()}).of
			}
			output, err := m.test(t, binary(t, m.pkg), name)
			if err == nil {
				t.Fatalf("no test notices the mutant:\n%s", output)
			}
			if !strings.Contains(output, "--- FAIL") {
				t.Fatalf("the tests end with an error, but no test failed: %v\n%s", err, output)
			}
		})
	}
	t.Run("none", func(t *testing.T) { testWithoutMutant(t, &binaries) })
}

// testWithoutMutant runs the tests of all mutants with none of them active. They must pass, or they would notice nothing.
func testWithoutMutant(t *testing.T, binaries *build) {
	patterns := map[string][]string{}
	for _, m := range mutants {
		patterns[m.pkg] = append(patterns[m.pkg], m.run)
	}
	for pkg, runs := range patterns {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			m := mutant{pkg: pkg, run: strings.Join(runs, "|"), checks: "20"}
			if output, err := m.test(t, binaries.of(t, pkg), ""); err != nil {
				t.Fatalf("the tests fail without a mutant: %v\n%s", err, output)
			}
		})
	}
}

// build builds test binaries of packages with an overlay.
type build struct {
	root, overlay, dir string
	packages           sync.Map // of functions that build the test binary of a package once
}

// of returns the path of the test binary of a package. The first call builds it.
func (b *build) of(t *testing.T, pkg string) string {
	t.Helper()
	once, _ := b.packages.LoadOrStore(pkg, sync.OnceValues(func() (string, error) {
		binary := filepath.Join(b.dir, strings.NewReplacer("/", "_", ".", "").Replace(pkg)+".test")
		// Debug information is for a debugger. Without it, the linker needs a third of the time.
		command := exec.Command("go", "test", "-c", "-overlay", b.overlay, "-vet=off", "-ldflags=-w", "-o", binary, pkg)
		command.Dir = b.root
		output, err := command.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, output)
		}
		return binary, err
	}))
	binary, err := once.(func() (string, error))()
	if err != nil {
		t.Fatalf("cannot build the tests of %s: %v", pkg, err)
	}
	return binary
}

// test runs the tests that must notice a mutant. It returns their output, and an error if they fail.
func (m mutant) test(t *testing.T, binary, active string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := []string{"-test.failfast", "-test.run", m.run}
	if m.pkg == simulation {
		// The seed makes the schedules the same in each run, so that a mutant is not noticed today and missed tomorrow.
		args = append(args, "-rapid.seed=1", "-rapid.checks="+cmp.Or(m.checks, "20000"), "-rapid.nofailfile", "-rapid.shrinktime=0s")
	}
	command := exec.CommandContext(ctx, binary, args...)
	command.Dir = checkout.Path(m.pkg)
	command.Env = append(os.Environ(), Variable+"="+active)
	output, err := command.CombinedOutput()
	return string(output), err
}
