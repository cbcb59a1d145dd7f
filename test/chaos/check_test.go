// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/judge"
	w "github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// script is a history written by hand, in which etcd stores one revision a second.
type script struct {
	records
	revision uint64
	stored   map[string]client.Object
}

func newScript() *script {
	return &script{records: records{pulse: everySecond{}, vandalised: map[types.UID]bool{}}, stored: map[string]client.Object{}}
}

// everySecond relates the times and revisions of a script.
type everySecond struct{}

func (everySecond) after(at time.Duration) uint64  { return uint64(at / time.Second) }
func (everySecond) before(at time.Duration) uint64 { return uint64(at / time.Second) }
func (everySecond) earliest(revision uint64) time.Duration {
	return time.Duration(revision) * time.Second
}

func (s *script) next() time.Duration {
	s.revision++
	return time.Duration(s.revision) * time.Second
}

func nameOf(object client.Object) string { return fmt.Sprintf("%T/%s", object, object.GetName()) }

// store stores the next versions of objects. A manager asks for each Job right before.
func (s *script) store(objects ...client.Object) {
	for _, object := range objects {
		if job, ok := object.(*batchv1.Job); ok && s.stored[nameOf(object)] == nil {
			s.send(job)
		}
		s.put(object)
	}
}

// put stores the next version of an object.
func (s *script) put(object client.Object) {
	seen := s.next()
	old := s.stored[nameOf(object)]
	s.stored[nameOf(object)] = object
	s.writes = append(s.writes, write{Event: judge.Event{Revision: s.revision, Old: old, New: object}, Seen: seen})
}

// send records that a manager asks for a Job, and gets no answer.
func (s *script) send(job *batchv1.Job) {
	s.creates = append(s.creates, create{
		Job: job.Name, Token: tokenOf(job), Generation: generationOf(job), Sent: time.Duration(s.revision) * time.Second,
	})
}

// remove deletes objects.
func (s *script) remove(objects ...client.Object) {
	for _, object := range objects {
		seen := s.next()
		s.writes = append(s.writes, write{Event: judge.Event{Revision: s.revision, Old: s.stored[nameOf(object)]}, Seen: seen})
		delete(s.stored, nameOf(object))
	}
}

// ask records a request that was sent at a revision and answered at the latest one.
func (s *script) ask(sent uint64, r request) {
	r.Namespace, r.JobName = w.Namespace, w.JobName
	r.Sent, r.Answered = time.Duration(sent)*time.Second, time.Duration(s.revision)*time.Second
	s.requests = append(s.requests, r)
}

// accepted records a trigger that was answered with a JobRun.
func (s *script) accepted(sent uint64, run *v1alpha1.JobRun) {
	s.ask(sent, request{
		ID: run.Annotations[v1alpha1.AnnotationTrigger], Verb: trigger, Name: run.Name, ConcurrencyKey: run.Spec.ConcurrencyKey,
		IdempotencyKey: run.Spec.IdempotencyKey, Outcome: accepted, UID: run.UID, Admission: run.Spec.Admission,
	})
}

// run starts the JobRun of a trigger.
func run(name string) *w.JobRunWrapper {
	made := w.MakeJobRun(name).Key("k")
	made.Annotations = map[string]string{v1alpha1.AnnotationTrigger: "request-" + name}
	return made
}

func key() *w.RunKeyWrapper { return w.MakeRunKey("k") }

// begin stores and answers run a, which waits.
func (s *script) begin() {
	sent := s.revision
	s.store(key().Pending("a").Obj(), run("a").Created().Obj())
	s.accepted(sent, run("a").Created().Obj())
}

// start lets a worker claim run a.
func (s *script) start() {
	s.store(run("a").Created().Pending().Obj())
	from := fmt.Sprint(s.revision)
	s.store(key().Leased("a", 1, from).Obj(), s.held().Obj())
}

func (s *script) held() *w.JobRunWrapper {
	return run("a").LeaseSeconds(5).Created().Leased(1, "3").Holder("worker")
}

// end completes run a.
func (s *script) end() {
	s.store(s.held().Ended(v1alpha1.PhaseCompleted).Reported().Obj())
	s.remove(key().Obj())
}

// absorb stores and answers receipt r, which the waiting run a absorbs.
func (s *script) absorb() *v1alpha1.JobRun {
	receipt := run("r").Skip().CoalescedBy("a", fmt.Sprint(s.revision)).Obj()
	s.store(receipt)
	s.accepted(s.revision-1, receipt)
	return receipt
}

// settle counts receipt r, binds it, and gives it its outcome.
func (s *script) settle(receipt *v1alpha1.JobRun) {
	bound := receipt.DeepCopy()
	bound.Status.Phase = v1alpha1.PhaseCoalesced
	bound.Status.RunRef = &v1alpha1.ObjectReference{Name: "a", UID: w.UIDOf("a")}
	s.store(s.held().Ended(v1alpha1.PhaseCompleted).Reported().Counted("r").Obj(), bound)
	settled := bound.DeepCopy()
	settled.Status.CompletionTime = w.Epoch.DeepCopy()
	settled.Status.Conditions = s.held().Ended(v1alpha1.PhaseCompleted).Reported().Obj().Status.Conditions
	s.store(settled)
}

// TestGoodHistories shows histories that keep all promises.
func TestGoodHistories(t *testing.T) {
	for name, tell := range map[string]func(*script){
		"a run": func(s *script) { s.begin(); s.start(); s.end() },
		"a run and its receipt": func(s *script) {
			s.begin()
			receipt := s.absorb()
			s.start()
			s.end()
			s.settle(receipt)
		},
		"a run that is deleted on request": func(s *script) {
			s.begin()
			s.ask(s.revision, request{Verb: deleteRun, Name: "a", Outcome: unknown})
			s.remove(run("a").Obj())
			s.remove(key().Obj())
		},
		"a trigger that is refused while a run waits": func(s *script) {
			s.begin()
			s.ask(s.revision, request{ID: "b", Verb: trigger, Name: "b", ConcurrencyKey: "k", Outcome: conflict, Pending: "a"})
			s.start()
			s.end()
		},
		"a trigger without answer that was stored": func(s *script) {
			s.begin()
			s.requests[0].Outcome = unknown
			s.start()
			s.end()
		},
		"a RunKey that was deleted by hand while another run waits": func(s *script) {
			s.begin()
			s.start()
			sent := s.revision
			b := run("b").Created()
			s.store(key().Leased("a", 1, "3").Pending("b").Obj(), b.Obj())
			s.accepted(sent, b.Obj())
			s.vandalised["uid-key"] = true
			s.remove(key().Obj())
			restored := func() *w.RunKeyWrapper {
				k := key()
				k.UID = "another"
				return k
			}
			s.store(restored().Leased("a", 1, "3").Obj(), restored().Leased("a", 1, "3").Pending("b").Obj())
			s.store(s.held().Ended(v1alpha1.PhaseCompleted).Reported().Obj(), restored().Pending("b").Obj(), b.Pending().Obj())
			from := fmt.Sprint(s.revision - 1)
			s.store(restored().Leased("b", 1, from).Obj(), b.Leased(1, from).Holder("worker").Obj())
			s.store(b.Ended(v1alpha1.PhaseCompleted).Reported().Obj())
			s.remove(restored().Obj())
		},
		"a RunKey that was deleted by hand": func(s *script) {
			s.begin()
			s.start()
			s.store(key().Leased("a", 1, fmt.Sprint(s.revision)).Obj()) // a claim that takes over, and is not stored
			s.vandalised["uid-key"] = true
			s.remove(key().Obj())
			restored := key().Leased("a", 1, "3").Obj()
			restored.UID = "another"
			s.store(restored)
			s.store(s.held().Ended(v1alpha1.PhaseCompleted).Reported().Obj())
			s.remove(restored)
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

func (s *script) check(strict bool) *Report { return check(&s.records, w.Namespace, strict, true) }

// badHistories has histories that break a promise. Their names begin with that of the promise.
var badHistories = map[string]func(*script){
	"I1: a run is leased that did not wait": func(s *script) {
		s.begin()
		s.start()
		s.end()
		s.store(key().Leased("a", 3, "1").Obj())
	},
	"I1: one lease follows another without release": func(s *script) {
		s.begin()
		s.start()
		s.store(key().Leased("b", 1, "1").Obj())
	},
	"I1: two runs read Leased": func(s *script) {
		s.begin()
		s.start()
		s.store(run("b").Created().Leased(1, "1").Obj())
	},
	"I2: a run has no outcome": func(s *script) { s.begin() },
	"I2: a run loses its place while it waits": func(s *script) {
		s.begin()
		s.store(key().Pending("b").Obj())
	},
	"I2: a run loses its place before its JobRun exists": func(s *script) {
		s.store(key().Pending("a").Obj(), key().Pending("b").Obj(), run("a").Created().Obj())
	},
	"I2: a receipt has a run that started before": func(s *script) {
		s.begin()
		s.start()
		s.end()
		receipt := run("r").CoalescedBy("a", "6").Obj()
		s.store(receipt)
		s.settle(receipt)
	},
	"I3: a receipt is counted twice": func(s *script) {
		s.begin()
		receipt := s.absorb()
		s.start()
		s.store(s.held().Counted("r").Obj())
		twice := s.held().Counted("r").Obj()
		twice.Status.Coalesced.Count = 2
		s.store(twice)
		s.end()
		s.settle(receipt)
	},
	"I3: a receipt is not counted": func(s *script) {
		s.begin()
		s.absorb()
		s.start()
		s.end()
		s.store(run("r").CoalescedBy("a", "2").BoundTo("a").Settled().Obj())
	},
	"I4: a Job is created before its lease": func(s *script) {
		s.begin()
		s.store(w.MakeJob(run("a").Template().Created().Obj(), 1).Obj())
	},
	"I4: a generation repeats": func(s *script) {
		s.begin()
		s.start()
		s.store(key().Pending("a").LastGeneration(2).Obj())
		s.store(key().Leased("a", 2, "1").Obj())
	},
	"I4: the next run of a key has no higher key version": func(s *script) {
		s.begin()
		s.start()
		from := s.stored[nameOf(key().Obj())].(*v1alpha1.RunKey).Spec.Leased.FromVersion
		s.end()
		s.store(key().Pending("b").Obj(), run("b").Created().Obj())
		s.store(key().Leased("b", 1, from).Obj())
	},
	"I4: a worker holds what the key does not lease": func(s *script) {
		s.begin()
		s.store(s.held().Obj())
	},
	"I5: a run fails for a lease that it never had": func(s *script) {
		s.begin()
		s.store(run("a").Created().Ended(v1alpha1.PhaseFailed).Error("Lease expired; pending run b already exists").Reported().Obj())
		s.remove(key().Obj())
	},
	"I6: a delivery is answered with a run that does not stand for it": func(s *script) {
		s.begin()
		s.accepted(s.revision, run("d").IdempotencyKey("i").DeliveredAs("a").Obj())
	},
	"I6: two runs stand for one delivery": func(s *script) {
		for _, name := range []string{"a", "b"} {
			s.store(w.MakeJobRun(name).IdempotencyKey("i").Created().Leased(1, "").Ended(v1alpha1.PhaseCompleted).Reported().Obj())
		}
	},
	"I7: a dry run stores something": func(s *script) {
		s.ask(s.revision, request{ID: "request-a", Verb: dryRun, Name: "a", Outcome: accepted})
		s.begin()
	},
	"I7: a dry run reserves a key": func(s *script) {
		s.ask(s.revision, request{ID: "d", Verb: dryRun, Name: "a", Outcome: accepted})
		s.store(key().Pending("a").Obj())
	},
	"I7: a dry run foresees a free key": func(s *script) {
		s.begin()
		s.ask(s.revision, request{ID: "d", Verb: dryRun, Name: "d", ConcurrencyKey: "k", Outcome: accepted, Admission: run("d").Created().Obj().Spec.Admission})
	},
	"I8: a key goes on while a Job executes": func(s *script) {
		s.begin()
		s.store(key().Leased("a", 1, "1").Obj(), w.MakeJob(run("a").Template().Created().Obj(), 1).Obj())
		s.store(run("a").Template().Created().Leased(1, "1").Ended(v1alpha1.PhaseCompleted).Reported().Obj())
		s.remove(key().Obj())
	},
	"I8: a key goes on while a Pod executes": func(s *script) {
		s.begin()
		s.store(key().Leased("a", 1, "1").Obj(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Namespace, Name: "a-1-x", Annotations: map[string]string{v1alpha1.AnnotationToken: w.TokenOf("a")},
		}})
		s.remove(key().Obj())
	},
	"linearizable: a trigger is absorbed by a run that has started": func(s *script) {
		s.begin()
		s.start()
		receipt := run("r").Skip().CoalescedBy("a", "1").Obj()
		s.store(receipt)
		s.accepted(s.revision-1, receipt)
	},
	"linearizable: a trigger is refused, but no run waits": func(s *script) {
		s.ask(s.revision, request{ID: "b", Verb: trigger, Name: "b", ConcurrencyKey: "k", Outcome: conflict, Pending: "a"})
	},
	"linearizable: a trigger is given a place that it does not have": func(s *script) {
		s.store(run("a").Created().Obj())
		s.accepted(0, run("a").Created().Obj())
	},
	"answers: an accepted trigger is not stored": func(s *script) {
		s.ask(s.revision, request{ID: "a", Verb: trigger, Name: "a", Outcome: accepted})
	},
	"answers: an accepted trigger is stored with another answer": func(s *script) {
		s.begin()
		s.requests[0].Admission = run("a").CoalescedBy("b", "1").Obj().Spec.Admission
	},
	"answers: a refused trigger is stored": func(s *script) {
		s.begin()
		s.requests[0].Outcome = refused
	},
	"outcomes: a run has two outcomes": func(s *script) {
		s.begin()
		s.start()
		s.store(s.held().Ended(v1alpha1.PhaseCompleted).Reported().Obj(), s.held().Ended(v1alpha1.PhaseFailed).Reported().Obj())
	},
	"outcomes: a run is deleted before it has an outcome": func(s *script) {
		s.begin()
		s.remove(run("a").Obj())
	},
	"outcomes: a receipt has another outcome than its run": func(s *script) {
		s.begin()
		receipt := s.absorb()
		s.start()
		s.end()
		s.settle(receipt)
		other := receipt.DeepCopy()
		other.UID, other.Name = "uid-q", "q"
		other.Status.Phase, other.Status.RunRef = v1alpha1.PhaseCoalesced, &v1alpha1.ObjectReference{Name: "a", UID: w.UIDOf("a")}
		other.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue}}
		s.store(other)
	},
	"leases: a lease expires that is renewed in time": func(s *script) {
		s.begin()
		s.start()
		for range 4 {
			s.store(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "worker"}})
		}
		s.store(s.held().Fenced().Obj())
	},
}

// TestBadHistories shows that the report names the promise that each of badHistories breaks.
func TestBadHistories(t *testing.T) { testBad(t, badHistories) }

func testBad(t *testing.T, histories map[string]func(*script)) {
	t.Helper()
	for name, tell := range histories {
		t.Run(name, func(t *testing.T) {
			promise, _, _ := strings.Cut(name, ":")
			s := newScript()
			tell(s)
			if broken := s.check(true).Broken(); !slices.Contains(broken, promise) {
				t.Errorf("the report says that %s holds; broken: %v", promise, broken)
			}
		})
	}
}

// TestReceiptsThatMayBeTrimmed shows that a run keeps a bounded number of receipts, Idempotent ones included.
func TestReceiptsThatMayBeTrimmed(t *testing.T) {
	receipts := func(phase v1alpha1.Phase, n int) map[types.UID]*life {
		all := map[types.UID]*life{}
		for i := range n {
			receipt := run(fmt.Sprint("r", i)).Obj()
			receipt.Status.Phase, receipt.Status.RunRef = phase, &v1alpha1.ObjectReference{Name: "a", UID: w.UIDOf("a")}
			all[receipt.UID] = &life{first: receipt, last: receipt, deleted: true}
		}
		return all
	}
	for phase, want := range map[v1alpha1.Phase]bool{
		v1alpha1.PhaseCoalesced: true, v1alpha1.PhaseIdempotent: true, v1alpha1.PhaseFailed: false,
	} {
		for n, want := range map[int]bool{receiptHistory: false, receiptHistory + 1: want} {
			all := receipts(phase, n)
			if got := all[w.UIDOf("r0")].trimmed(all); got != want {
				t.Errorf("trimmed of one of %d receipts in phase %s is %t, want %t", n, phase, got, want)
			}
		}
	}
}

// TestLateRenewal shows that a lease that was not renewed in time may expire.
func TestLateRenewal(t *testing.T) {
	s := newScript()
	s.begin()
	s.start()
	s.revision += 5
	s.store(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "worker"}}, s.held().Fenced().Obj())
	if found := s.check(false).Violations(leases); len(found) > 0 {
		t.Error(found)
	}
}

// TestReservationWithoutAnswer shows that a reservation whose trigger got no answer breaks no promise.
func TestReservationWithoutAnswer(t *testing.T) {
	s := newScript()
	s.store(key().Pending("ghost").Obj())
	s.remove(key().Obj())
	if broken := s.check(false).Broken(); len(broken) > 0 {
		t.Error(broken)
	}
}

func TestCrashesAreFound(t *testing.T) {
	for log, want := range map[string]bool{
		"all is well\n":                              false,
		`{"msg":"panic: in a message"}`:              false,
		"starting\npanic: assignment to a nil map\n": true,
		"WARNING: DATA RACE\nRead at":                true,
		"fatal error: concurrent map writes\n":       true,
		`{"level":"error","msg":"A handler panicked","error":"assignment to a nil map"}`:  true,
		`{"level":"ERROR","msg":"Observed a panic","panic":"nil map"}`:                    true,
		`{"msg":"Reconciler error","error":"panic: assignment to a nil map [recovered]"}`: true,
	} {
		path := filepath.Join(t.TempDir(), "manager.log")
		if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
		r := &Report{Promises: newPromises()}
		if err := r.checkProcesses([]*controlplane.Process{{Name: "manager-1", LogFile: path}}); err != nil {
			t.Fatal(err)
		}
		if found := len(r.Violations(sound)) > 0; found != want {
			t.Errorf("%q counts as a crash: %t, want %t", log, found, want)
		}
	}
}
