package controller

import (
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// step looks at a snapshot and says what to do about one thing; nil if there is
// nothing to do.
type step struct {
	name   string
	decide func(*Snapshot) []Op
}

// steps are in the order of their urgency, and the first that has something to
// do is the only one done: a key makes one transition per reconcile. What leaves
// goes before what enters, and receipts come last, for they follow runs.
var steps = []step{
	// A RunKey that was deleted, or missed a claim, is made to say what runs.
	{"restore-lease", restoreLease},
	// What the key does not lease must not execute.
	{"delete-stray-job", deleteStrayJob},
	{"lose-lease", loseLease},
	// A receipt that is counted is marked before its run can end and be forgotten.
	{"mark", mark},
	// The waiting place is freed of a run that is gone, ended or cancelled.
	{"vacate-pending", vacatePending},
	// A run that reads Pending gets its place back before a lease may expire.
	{"reseat", reseat},
	// The executing run: stored claim, Job, end, expiry.
	{"leased", decideLeased},
	// Who lost its place to a run that waits again becomes its receipt.
	{"finish-displacement", finishDisplacement},
	// Statuses that say more than the key does are taken back.
	{"unseat", unseat},
	// The waiting run starts, or is told that it waits.
	{"claim", claim},
	{"announce-pending", announcePending},
	// A free waiting place goes to whoever waits for it.
	{"cancel-waiting", cancelWaiting},
	{"admit-bypassed", admitBypassed},
	{"elect", elect},
	// Receipts: counted, marked, and given the outcome of their run.
	{"fold", fold},
	{"bind-idempotent", bindIdempotent},
	{"settle", settle},
}

// decide is the whole decision: from what was observed to what is to be done.
func decide(s *Snapshot) Plan {
	s.prepare()
	for _, step := range steps {
		if s.waiting[step.name] {
			continue
		}
		if ops := step.decide(s); len(ops) > 0 {
			return Plan{Step: step.name, Ops: s.stamped(ops), After: wake(s)}
		}
	}
	return Plan{After: wake(s)}
}

// wake is when time alone may change the decision; 0 for never.
func wake(s *Snapshot) time.Duration {
	var soonest time.Duration
	for _, run := range s.Runs {
		e := s.execution(run)
		if e.Expires {
			soonest = sooner(soonest, e.Left)
		}
		soonest = sooner(sooner(soonest, e.HoldOff), sooner(e.Unstored, e.Deadline))
	}
	return soonest
}

// sooner is the smaller of two durations of which 0 means never.
func sooner(a, b time.Duration) time.Duration {
	switch {
	case a <= 0:
		return max(b, 0)
	case b <= 0:
		return a
	default:
		return min(a, b)
	}
}

// checkKey guards a write that does not follow a compare-and-swap of one's own.
func (s *Snapshot) checkKey() []Op {
	if !s.Keyed {
		return nil
	}
	return []Op{CheckKey{}}
}

// swap writes the key, if there is one.
func (s *Snapshot) swap(next *v1alpha1.RunKeySpec) []Op {
	if !s.Keyed {
		return nil
	}
	return []Op{SwapKey{Next: next}}
}

// release gives the key of a run that ended back, once nothing of it executes.
func (s *Snapshot) release(run runkey.Identity, generation int64, template bool) []Op {
	var ops []Op
	if template {
		ops = append(ops, Stopped{Run: run, Generation: generation})
	}
	if next, ok := runkey.Release(s.spec(), run); s.Keyed && ok {
		ops = append(ops, SwapKey{Next: next})
	}
	return ops
}

// concat joins groups of operations in order.
func concat(groups ...[]Op) []Op {
	var ops []Op
	for _, group := range groups {
		ops = append(ops, group...)
	}
	return ops
}
