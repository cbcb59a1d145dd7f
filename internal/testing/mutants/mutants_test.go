package mutants

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds the tests of one mutant.
const patience = 10 * time.Minute

// mutant is one way to break the code, and who must notice.
type mutant struct {
	file     string
	from, to string
	pkg      string
	run      string
	args     []string
}

const (
	rules      = "./internal/controller"
	simulation = "./internal/testing/simulation"
)

var mutants = map[string]mutant{
	"P1: a run is known by its name": {
		file: "internal/runkey/identity.go",
		from: `return Identity{Name: run.Name, Token: a.Token}`,
		to:   `return Identity{Name: run.Name, Token: run.Name}`,
		pkg:  rules, run: "^TestP1",
	},
	"P2: a receipt binds without evidence": {
		file: "internal/runkey/identity.go",
		from: `return err == nil && order >= 0`,
		to:   `return err == nil || order >= 0`,
		pkg:  rules, run: "^TestP2",
	},
	"P3: the key before the terminal status": {
		file: "internal/controller/decide_leased.go",
		from: `	return concat(
		s.checkKey(),
		[]Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}},
		s.release(runkey.IdentityOf(run), end.generation, run.Spec.Template != nil),
	)`,
		to: `	return concat(
		s.checkKey(),
		s.release(runkey.IdentityOf(run), end.generation, run.Spec.Template != nil),
		[]Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}},
	)`,
		pkg: rules, run: "^TestP3",
	},
	"P4: no live read before the Job": {
		file: "internal/controller/decide_pending.go",
		from: `[]Op{CheckRun{run}, CreateJob{run, generation, version}},
		s.confirm`,
		to: `[]Op{CreateJob{run, generation, version}},
		s.confirm`,
		pkg: rules, run: "^TestP4",
	},
	"P5: statuses without a look at the key": {
		file: "internal/controller/decide.go",
		from: `	if !s.Keyed {
		return nil
	}
	return []Op{CheckKey{}}`,
		to:  `	return nil`,
		pkg: rules, run: "^TestP5",
	},
	"P6: strays are let be": {
		file: "internal/controller/decide_pending.go",
		from: `[]Op{NoStrays{}, CheckRun{run}},
		s.swap(next),`,
		to: `[]Op{CheckRun{run}},
		s.swap(next),`,
		pkg: rules, run: "^TestP6",
	},
	"P7: a run that was answered Created is refused": {
		file: "internal/controller/decide_bypassed.go",
		from: `if !run.BypassedWebhook() || run.WasRun() || run.Status.Phase != ""`,
		to:   `if run.Status.Phase != ""`,
		pkg:  rules, run: "^TestP7",
	},
	"P8: entries go before their receipts are marked": {
		file: "internal/controller/status.go",
		from: `if excess <= 0 || !marked[entry.UID] {`,
		to:   `if excess <= 0 {`,
		pkg:  rules, run: ".",
	},
	"P9: a run goes before its receipts have an outcome": {
		file: "internal/controller/decide_retention.go",
		from: `case !kept || t.awaited():`,
		to:   `case !kept:`,
		pkg:  rules, run: "^TestP9",
	},
	"P10: an idempotency key has no heirs": {
		file: "internal/controller/decide_bypassed.go",
		from: `	heir := s.heir()
`,
		to: `	heir := runkey.Identity{}
`,
		pkg: rules, run: "^TestP10",
	},
	"P11: two transitions in one reconcile": {
		file: "internal/controller/decide.go",
		from: `		if ops := step.decide(s); len(ops) > 0 {
			return Plan{Step: step.name, Ops: s.stamped(ops), After: wake(s)}
		}
	}
	return Plan{After: wake(s)}`,
		to: `		if ops := step.decide(s); len(ops) > 0 {
			all.Step, all.Ops = step.name, append(all.Ops, ops...)
		}
	}
	all.After = wake(s)
	return all`,
		pkg: rules, run: "^TestP11",
	},
	"P12: a receipt is known by its admission": {
		file: "internal/controller/decide_snapshot.go",
		from: `	switch run.Status.Phase {
	case v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent:
		return true`,
		to: `	if run.WasAbsorbed() {
		return true
	}
	switch run.Status.Phase {
	case v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent:
		return true`,
		pkg: rules, run: "^TestP12",
	},
	"I1: the status before the key": {
		file: "internal/controller/decide_pending.go",
		from: `		[]Op{NoStrays{}, CheckRun{run}},
		s.swap(next),`,
		to: `		[]Op{NoStrays{}, CheckRun{run}},
		[]Op{WriteStatus{run, leasedStatus(run, generation, version, s.Now)}},
		s.swap(next),`,
		pkg: simulation, run: "^TestPropertyCalm$",
	},
	"I1: the waiting run is announced before its predecessor has left": {
		file: "internal/controller/decide_pending.go",
		from: `|| !s.accepting(run) || !s.predecessorSettled() {`,
		to:   `|| !s.accepting(run) {`,
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
		file: "internal/controller/decide_pending.go",
		from: `	case s.orphaned(run):
		return 3`,
		to: `	case s.orphaned(run):
		return 0`,
		pkg: rules, run: ".",
	},
	"I3: what is counted already is counted again": {
		file: "internal/controller/decide_receipts.go",
		from: `if s.loose(receipt) && !hasRecent(run, receipt.UID) && s.standsFor(receipt) == run {`,
		to:   `if s.loose(receipt) && s.standsFor(receipt) == run {`,
		pkg:  rules, run: "^TestP8",
	},
	"I4: a claim does not raise the generation": {
		file: "internal/runkey/transition.go",
		from: `max(key.Pending.Generation, last) + 1,`,
		to:   `max(key.Pending.Generation, last, 1),`,
		pkg:  simulation, run: "^TestPropertyCalm$",
	},
	"I4: the Job before the key": {
		file: "internal/controller/decide_pending.go",
		from: `		s.swap(next),
		[]Op{CheckRun{run}, CreateJob{run, generation, version}},`,
		to: `		[]Op{CheckRun{run}, CreateJob{run, generation, version}},
		s.swap(next),`,
		pkg: simulation, run: "^TestPropertyCalm$",
	},
	"I5: an expired run takes the place of the waiting one": {
		file: "internal/runkey/transition.go",
		from: `if Pending(key) != (Identity{}) {`,
		to:   `if key == nil {`,
		pkg:  "./internal/runkey", run: ".",
	},
	"I5: an expired run takes the place of one that did not ask to be absorbed": {
		file: "internal/controller/decide_displace.go",
		from: `v1alpha1.OnLeaseExpiredRequeue && runkey.PolicyOf(waiting.Spec.Coalesce).GivesWay`,
		to:   `v1alpha1.OnLeaseExpiredRequeue || runkey.PolicyOf(waiting.Spec.Coalesce).GivesWay`,
		pkg:  simulation, run: "^TestPropertyRequeue$",
	},
	"I3: receipts stay with a run that became a receipt": {
		file: "internal/controller/decide_displace.go",
		from: `return receipt.IsReceipt() && !receipt.HasOutcome() && ref`,
		to:   `return false && ref`,
		pkg:  simulation, run: "^TestPropertyRequeue$",
	},
	"I3: who was displaced and counted executes": {
		file: "internal/controller/decide_displace.go",
		from: `return told && (`,
		to:   `return !told && (`,
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
	"batch: a member starts before its batch": {
		file: "internal/controller/decide_pending.go",
		from: `return s.accepting(run) && (run.Status.Phase == ""`,
		to:   `return s.open(run) && (run.Status.Phase == ""`,
		pkg:  simulation, run: "^TestPropertyCalm$",
	},
	"batch: receipts bind to a member that may be withdrawn": {
		file: "internal/controller/decide_receipts.go",
		from: `run.IsReceipt() || !s.started(run) {`,
		to:   `run.IsReceipt() {`,
		pkg:  simulation, run: "^TestPropertyCalm$",
	},
	"batch: a batch starts without its last member": {
		file: "internal/controller/decide_batch.go",
		from: `return n >= int(`,
		to:   `return n+1 >= int(`,
		pkg:  simulation, run: "^TestPropertyCalm$",
	},
	"claim: granted though another run executes": {
		file: "internal/runkey/transition.go",
		from: `if key == nil || key.Pending == nil || key.Leased != nil {`,
		to:   `if key == nil || key.Pending == nil {`,
		pkg:  "./internal/runkey", run: "^TestGrant$",
	},
	"claim: granted again under another generation": {
		file: "internal/keystore/grant.go",
		from: `case next.Leased.Generation != generation:`,
		to:   `case next.Leased.Generation < 0:`,
		pkg:  "./internal/keystore", run: "^TestGrant$",
	},
	"claim: taken back without a fence": {
		file: "internal/controller/decide_leased.go",
		from: `return concat(s.checkKey(), []Op{WriteStatus{run, status}}, s.swap(next))`,
		to: `_ = status
	return concat(s.checkKey(), s.swap(next))`,
		pkg: simulation, run: "^TestPropertyStorm$",
	},
	"I8: a Job that is gone proves that its Pods are": {
		file: "internal/controller/act_jobs.go",
		from: `	return a.noPods(ctx, op.Run)
}`,
		to: `	return nil
}`,
		pkg: rules, run: "^TestActStopped$",
	},
}

// TestPropertyMutants breaks the code, one mutant at a time.
func TestPropertyMutants(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			output, err := m.test(t, root)
			if err == nil {
				t.Fatalf("nobody notices:\n%s", output)
			}
			if !strings.Contains(output, "--- FAIL") {
				t.Fatalf("no test failed, something else did: %v\n%s", err, output)
			}
		})
	}
}

// test runs the tests that must notice a mutant.
func (m mutant) test(t *testing.T, root string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := append([]string{"test", "-overlay", m.overlay(t, root), "-count=1", "-failfast", "-run", m.run, m.pkg}, m.args...)
	if m.pkg == simulation {
		args = append(args, "-rapid.checks=20000", "-rapid.nofailfile", "-rapid.shrinktime=0s")
	}
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = root
	output, err := command.CombinedOutput()
	return string(output), err
}

// overlay describes the tree with the mutant in the place of its file.
func (m mutant) overlay(t *testing.T, root string) string {
	t.Helper()
	edits := []Edit{{m.file, m.from, m.to}}
	if strings.Contains(m.to, "all.Ops") {
		edits = append(edits, Edit{m.file, "	s.prepare()\n	for", "	s.prepare()\n	var all Plan\n	for"})
	}
	path, err := Overlay(root, t.TempDir(), edits...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
