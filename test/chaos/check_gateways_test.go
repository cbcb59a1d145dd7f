// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	w "github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func inputOf(id string) string { return fmt.Sprintf(`{"id": %q}`, id) }

// ofGateway starts the JobRun that a gateway makes of triggers.
func ofGateway(name string, ids ...string) *w.JobRunWrapper {
	made := w.MakeJobRun(name).Key("k").Skip().Input(inputOf(ids[0]))
	made.Annotations = map[string]string{v1alpha1.AnnotationTrigger: "create-" + name, v1alpha1.AnnotationTriggeredBy: "ann"}
	if len(ids) > 1 {
		var others []string
		for _, id := range ids[1:] {
			others = append(others, inputOf(id))
		}
		made.Represents(int32(len(ids)), others...)
	}
	return made
}

// asked records triggers that were sent to a gateway, and answered as change says.
func (s *script) asked(sent uint64, change func(*request), ids ...string) {
	for _, id := range ids {
		r := request{ID: id, Gateway: "gateway-0", Verb: trigger, User: "ann", ConcurrencyKey: "k", Skip: true}
		change(&r)
		s.ask(sent, r)
	}
}

// is returns the answer that names a JobRun.
func is(run *v1alpha1.JobRun, disposition v1alpha1.Disposition) func(*request) {
	return func(r *request) {
		r.Outcome, r.Name, r.Disposition = accepted, run.Name, disposition
		r.Run, r.KeyVersion = run.Spec.Admission.RunName, run.Spec.Admission.KeyVersion
	}
}

func isLost(r *request) { r.Outcome = unknown }

func isRefused(r *request) { r.Outcome = refused }

// beginAt stores run a of the trigger first, which waits, and then receipt r of the triggers of ids.
func (s *script) beginAt(ids ...string) (a, r *v1alpha1.JobRun) {
	a = ofGateway("a", "first").Created().Obj()
	s.store(key().Pending("a").Obj(), a)
	r = ofGateway("r", ids...).CoalescedBy("a", fmt.Sprint(s.revision-1)).Obj()
	s.store(r)
	return a, r
}

// answerAt answers the trigger first with run a.
func (s *script) answerAt(a *v1alpha1.JobRun) {
	s.asked(0, is(a, v1alpha1.DispositionCreated), "first")
}

// finish executes run a, which counts a number of triggers for receipt r. Then the receipt gets its outcome.
func (s *script) finish(r *v1alpha1.JobRun, count int64) {
	from := fmt.Sprint(s.revision)
	held := func() *w.JobRunWrapper { return ofGateway("a", "first").Created().Leased(1, from).Holder("worker") }
	s.store(key().Leased("a", 1, from).Obj(), held().Obj())
	record := &v1alpha1.CoalescedTriggers{Count: count, Recent: []v1alpha1.CoalescedTrigger{{Name: "r", UID: r.UID}}}
	counted := held().Obj()
	counted.Status.Coalesced = record
	bound := r.DeepCopy()
	bound.Status.Phase, bound.Status.RunRef = v1alpha1.PhaseCoalesced, &v1alpha1.ObjectReference{Name: "a", UID: w.UIDOf("a")}
	ended := held().Ended(v1alpha1.PhaseCompleted).Reported().Obj()
	ended.Status.Coalesced = record
	s.store(counted, bound, ended)
	s.remove(key().Obj())
	settled := bound.DeepCopy()
	settled.Status.CompletionTime, settled.Status.Conditions = w.Epoch.DeepCopy(), ended.Status.Conditions
	s.store(settled)
}

// TestGoodGateways shows histories of gateways that keep all promises.
func TestGoodGateways(t *testing.T) {
	for name, tell := range map[string]func(*script){
		"a run, and a receipt of three triggers": func(s *script) {
			a, r := s.beginAt("x", "y", "z")
			s.answerAt(a)
			s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x", "y", "z")
			s.finish(r, 3)
		},
		"a receipt of which two answers were lost": func(s *script) {
			a, r := s.beginAt("x", "y", "z")
			s.answerAt(a)
			s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x")
			s.asked(2, func(q *request) { q.Name = r.Name }, "y")
			s.asked(2, isLost, "z", "never sent")
			s.requests[2].Outcome = unknown
			s.finish(r, 3)
		},
		"a receipt that describes only some of its triggers": func(s *script) {
			a, r := s.beginAt("x", "y")
			r.Spec.Represents.Count = 5
			s.answerAt(a)
			s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x", "y", "z")
			s.asked(2, isLost, "lost", "lost, too")
			s.finish(r, 5)
		},
		"a run of several triggers": func(s *script) {
			a := ofGateway("a", "first", "x").Created().Obj()
			s.store(key().Pending("a").Obj(), a)
			s.asked(0, is(a, v1alpha1.DispositionCreated), "first")
			s.asked(0, is(a, v1alpha1.DispositionCoalesced), "x")
			from := fmt.Sprint(s.revision)
			held := ofGateway("a", "first", "x").Created().Leased(1, from).Holder("worker").Counted()
			held.Status.Coalesced.Count = 1
			s.store(key().Leased("a", 1, from).Obj(), held.Obj().DeepCopy())
			s.store(held.Ended(v1alpha1.PhaseCompleted).Reported().Obj())
			s.asked(0, func(q *request) {
				is(a, v1alpha1.DispositionCreated)(q)
				q.Phase = v1alpha1.PhaseCompleted
			})
			s.remove(key().Obj())
		},
		"a trigger that is refused while a run waits": func(s *script) {
			a, r := s.beginAt("x")
			s.answerAt(a)
			s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x")
			s.asked(2, func(q *request) { q.Outcome, q.Pending = conflict, "a" }, "y")
			s.finish(r, 1)
		},
		"a create that is stored again because a caller deleted what it had stored": func(s *script) {
			a, r := s.beginAt("x")
			s.answerAt(a)
			s.asked(2, isLost, "x")
			s.ask(s.revision, request{Gateway: "gateway-0", Verb: deleteRun, Name: "r", Outcome: unknown})
			s.remove(r)
			again := r.DeepCopy()
			again.UID = "uid-r-again"
			s.store(again)
			s.finish(again, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript()
			tell(s)
			if r := s.check(false); len(r.Broken()) > 0 {
				r.Print(t.Output())
				t.Error("the report names broken promises")
			}
		})
	}
}

// badGateways has histories of gateways that break a promise. Their names begin with that of the promise.
var badGateways = map[string]func(*script){
	"gateway: an accepted trigger is not stored": func(s *script) {
		s.asked(0, is(ofGateway("a", "x").Created().Obj(), v1alpha1.DispositionCreated), "x")
	},
	"gateway: a trigger is answered before it is stored": func(s *script) {
		a := ofGateway("a", "x").Created().Obj()
		s.store(key().Pending("a").Obj())
		s.asked(0, is(a, v1alpha1.DispositionCreated), "x")
		s.store(a)
	},
	"gateway: a trigger joins a JobRun that is an answer already": func(s *script) {
		a, r := s.beginAt("x", "y")
		s.answerAt(a)
		s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x")
		s.store(key().Pending("a").Obj())
		s.asked(s.revision, is(r, v1alpha1.DispositionCoalesced), "y")
		s.finish(r, 2)
	},
	"gateway: a trigger is answered with a JobRun of others": func(s *script) {
		a, r := s.beginAt("x", "y")
		s.answerAt(a)
		s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x", "y", "z")
		s.finish(r, 2)
	},
	"gateway: more triggers are answered with a JobRun than it stands for": func(s *script) {
		a, r := s.beginAt("x", "y")
		r.Spec.Represents.Count = 3
		s.answerAt(a)
		s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x", "y", "z", "one more")
		s.finish(r, 3)
	},
	"gateway: a JobRun stands for triggers that nobody sent": func(s *script) {
		a, r := s.beginAt("x", "y")
		r.Spec.Represents.Count = 4
		s.answerAt(a)
		s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x", "y")
		s.asked(2, isLost, "lost")
		s.finish(r, 4)
	},
	"gateway: a lost trigger is stored twice": func(s *script) {
		a, r := s.beginAt("x", "y")
		s.answerAt(a)
		s.asked(2, isLost, "x", "y")
		again := ofGateway("q", "x", "y").CoalescedBy("a", r.Spec.Admission.KeyVersion).Obj()
		s.store(again)
		s.finish(r, 2)
	},
	"gateway: a create is stored again though nobody deleted what it had stored": func(s *script) {
		a, r := s.beginAt("x")
		s.answerAt(a)
		s.asked(2, isLost, "x")
		s.remove(r)
		again := r.DeepCopy()
		again.UID = "uid-r-again"
		s.store(again)
		s.finish(again, 1)
	},
	"gateway: a refused trigger is stored": func(s *script) {
		a, r := s.beginAt("x", "y")
		s.answerAt(a)
		s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x")
		s.asked(2, isRefused, "y")
		s.finish(r, 2)
	},
	"gateway: a 504 names another JobRun": func(s *script) {
		a, r := s.beginAt("x")
		s.answerAt(a)
		s.asked(2, func(q *request) { q.Outcome, q.Name = unknown, "other" }, "x")
		s.finish(r, 1)
	},
	"gateway: two triggers of a group are the run": func(s *script) {
		a := ofGateway("a", "first", "x").Created().Obj()
		s.store(key().Pending("a").Obj(), a)
		s.asked(0, is(a, v1alpha1.DispositionCreated), "first", "x")
	},
	"gateway: an answer after a wait names another run": func(s *script) {
		a, r := s.beginAt("x")
		s.answerAt(a)
		s.asked(2, func(q *request) {
			is(r, v1alpha1.DispositionCoalesced)(q)
			q.Run, q.Phase = "b", v1alpha1.PhaseCompleted
		}, "x")
		s.finish(r, 1)
	},
	"gateway: an answer names another run": func(s *script) {
		a, r := s.beginAt("x")
		s.answerAt(a)
		s.asked(2, func(q *request) {
			is(r, v1alpha1.DispositionCoalesced)(q)
			q.Run = "b"
		}, "x")
		s.finish(r, 1)
	},
	"gateway: an answer has another outcome": func(s *script) {
		a, r := s.beginAt("x")
		s.answerAt(a)
		s.finish(r, 1)
		s.asked(2, func(q *request) {
			is(r, v1alpha1.DispositionCoalesced)(q)
			q.Phase = v1alpha1.PhaseFailed
		}, "x")
	},
	"gateway: a run counts too few": func(s *script) {
		a, r := s.beginAt("x", "y", "z")
		s.answerAt(a)
		s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x", "y", "z")
		s.finish(r, 2)
	},
	"gateway: a run counts too many": func(s *script) {
		a, r := s.beginAt("x", "y", "z")
		s.answerAt(a)
		s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x", "y")
		s.asked(2, isLost, "z", "lost")
		s.finish(r, 4)
	},
	"linearizable: a group is absorbed by a run that has started": func(s *script) {
		a, r := s.beginAt("x", "y")
		s.answerAt(a)
		s.finish(r, 2)
		s.asked(s.revision, is(r, v1alpha1.DispositionCoalesced), "x", "y")
	},
	"linearizable: a gateway refuses a trigger, but no run waits": func(s *script) {
		s.asked(s.revision, func(q *request) { q.Outcome, q.Pending = conflict, "a" }, "x")
	},
}

// TestBadGateways shows that the report names the promise that each of badGateways breaks.
func TestBadGateways(t *testing.T) { testBad(t, badGateways) }

// TestPromotedReceipt shows that the count of a run may include receipts that it counted and that were promoted then, and that the
// report says so. Who waits for such a receipt learns that it is the run.
func TestPromotedReceipt(t *testing.T) {
	for count, want := range map[int64]int{3: 0, 4: 1} {
		s := newScript()
		a, r := s.beginAt("x", "y", "z")
		s.answerAt(a)
		s.asked(2, is(r, v1alpha1.DispositionCoalesced), "x", "y")
		s.asked(2, func(q *request) {
			is(r, v1alpha1.DispositionCoalesced)(q)
			q.Run, q.Phase = "r", v1alpha1.PhaseCompleted
		}, "z")
		cancelled := ofGateway("a", "first").Created().Counted("r").Ended(v1alpha1.PhaseCancelled).Reported().Obj()
		cancelled.Status.Coalesced.Count = count
		promoted := r.DeepCopy()
		promoted.Status.Phase, promoted.Status.Coalesced = v1alpha1.PhaseCompleted, &v1alpha1.CoalescedTriggers{Count: 2}
		promoted.Status.RunRef = &v1alpha1.ObjectReference{Name: "r", UID: r.UID}
		promoted.Status.CompletionTime = w.Epoch.DeepCopy()
		promoted.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue}}
		s.store(cancelled, promoted)
		report := s.check(false)
		if got := report.Violations(atGateways); len(got) != want || report.Numbers["counted, then promoted"] != 1 {
			t.Errorf("with a count of %d: %v, %v", count, got, report.Numbers)
		}
	}
}

// TestStatusOfGateway shows which answers leave open what was done.
func TestStatusOfGateway(t *testing.T) {
	for text, want := range map[string]request{
		`{"code":503}`:                        {Outcome: refused},
		`{"code":429}`:                        {Outcome: refused},
		`{"code":500}`:                        {Outcome: unknown},
		`{"code":504,"details":{"name":"a"}}`: {Outcome: unknown, Name: "a"},
		`{"code":409,"details":{"name":"b","causes":[{"reason":"PendingRun","message":"a"}]}}`:  {Outcome: conflict, Pending: "a"},
		`{"code":409,"details":{"name":"b","causes":[{"reason":"ReservedRun","message":"a"}]}}`: {Outcome: conflict, Pending: "a"},
		`{"code":409,"details":{"name":"b","causes":[{"reason":"Represents","message":"3"}]}}`:  {Outcome: refused},
		`{"code":`: {Outcome: unknown},
	} {
		code := 0
		_, _ = fmt.Sscanf(text, `{"code":%d`, &code)
		got := request{Outcome: unknown}
		got.takeStatus(code, []byte(text))
		if got.Outcome != want.Outcome || got.Name != want.Name || got.Pending != want.Pending {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
