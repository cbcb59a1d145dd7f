// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/schedule"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// tickTime is the only time of each minute's schedule between the creation of all objects, 03:04:05, and now, 03:05:05.
var tickTime = time.Date(2026, time.January, 2, 3, 5, 0, 0, time.UTC)

func makeDefinition(change func(*v1alpha1.JobDefinition)) *v1alpha1.JobDefinition {
	d := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{
		Namespace: wrappers.Namespace, Name: wrappers.JobName, UID: "uid-definition", Generation: 1, CreationTimestamp: wrappers.Epoch,
	}}
	d.Spec.Schedules = []v1alpha1.JobSchedule{{Name: "minutely", Schedule: "* * * * *"}}
	if change != nil {
		change(d)
	}
	return d
}

// definitionBench is a store and the controllers of definitions on it.
type definitionBench struct {
	bench
	*definitions
}

func newDefinitionBench(stored ...client.Object) definitionBench {
	b := newBench(stored...)
	b.CheckDefinition = checkSchedules
	return definitionBench{b, newDefinitions(b.Reconciler)}
}

// another returns a second controller on the same store with a clock of its own.
func (b definitionBench) another(clock *clocktesting.FakeClock) *definitions {
	options := b.bench.Options
	options.Clock = clock
	return newDefinitions(NewReconciler(b.store, b.store, events.NewFakeRecorder(100), options))
}

func (b definitionBench) Reconcile(t *testing.T) (reconcile.Result, error) {
	return b.definitions.Reconcile(t.Context(), theDefinition)
}

var theDefinition = reconcile.Request{NamespacedName: types.NamespacedName{Namespace: wrappers.Namespace, Name: wrappers.JobName}}

func (b definitionBench) definition(t *testing.T) *v1alpha1.JobDefinition {
	t.Helper()
	d := &v1alpha1.JobDefinition{}
	if err := b.store.Get(t.Context(), theDefinition.NamespacedName, d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (b definitionBench) runNames(t *testing.T) []string {
	t.Helper()
	var runs v1alpha1.JobRunList
	if err := b.store.List(t.Context(), &runs); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, run := range runs.Items {
		names = append(names, run.Name)
	}
	slices.Sort(names)
	return names
}

func (b definitionBench) nextEvent() string {
	select {
	case e := <-b.events.Events:
		return e
	default:
		return ""
	}
}

func TestATickTriggersOnce(t *testing.T) {
	b := newDefinitionBench(makeDefinition(func(d *v1alpha1.JobDefinition) {
		d.Spec.Schedules[0].Input = rawInput(`{"org":"acme"}`)
	}))
	result, err := b.Reconcile(t)
	if err != nil || result.RequeueAfter != 55*time.Second {
		t.Fatalf("%+v, %v", result, err)
	}
	run := &v1alpha1.JobRun{}
	name := schedule.RunName(wrappers.JobName, "minutely", tickTime)
	if err := b.store.Get(t.Context(), types.NamespacedName{Namespace: wrappers.Namespace, Name: name}, run); err != nil {
		t.Fatal(err)
	}
	if run.Spec.JobName != wrappers.JobName || string(run.Spec.Input.Raw) != `{"org":"acme"}` ||
		run.Labels[v1alpha1.LabelSchedule] != "minutely" || run.Annotations[v1alpha1.AnnotationScheduledTime] != "2026-01-02T03:05:00Z" {
		t.Errorf("created %+v", run)
	}
	known := b.definition(t).Status.Schedules[0]
	if !known.LastScheduleTime.Time.Equal(tickTime) || !known.NextScheduleTime.Time.Equal(tickTime.Add(time.Minute)) ||
		known.LastRunName != name || known.LastResult != "Created" {
		t.Errorf("status %+v", known)
	}
	written := len(b.store.Writes())
	if result, err = b.Reconcile(t); err != nil || result.RequeueAfter != 55*time.Second || len(b.store.Writes()) != written {
		t.Errorf("again: %+v, %v, wrote %v", result, err, b.store.Writes()[written:])
	}
	b.clock.Step(55 * time.Second)
	if _, err = b.Reconcile(t); err != nil || len(b.runNames(t)) != 2 {
		t.Errorf("%v after the next minute, %v", b.runNames(t), err)
	}
}

func refusal(code int32, reason metav1.StatusReason, causes ...metav1.StatusCause) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Code: code, Reason: reason, Message: string(reason), Details: &metav1.StatusDetails{Causes: causes},
	}}
}

// What becomes of a tick whose create gets an error. The last controller sees the store without the error.
func TestATickThatFails(t *testing.T) {
	own := schedule.NewRun(makeDefinition(nil), &v1alpha1.JobSchedule{Name: "minutely"}, tickTime)
	own.Spec.Admission = &v1alpha1.Admission{Disposition: v1alpha1.DispositionCoalesced}
	foreign := own.DeepCopy()
	foreign.Labels = nil
	reserved := metav1.StatusCause{Type: v1alpha1.CauseReservedRun, Message: "x"}
	for name, tc := range map[string]struct {
		stored *v1alpha1.JobRun
		err    error
		// lost is true if the create is stored before its error.
		lost bool
		// want is the lastResult, and event the Event. Both are empty if the tick stays due.
		want, event string
	}{
		"a run waits":          {err: refusal(http.StatusConflict, metav1.StatusReasonConflict), want: "Refused: Conflict", event: "ScheduleRefused"},
		"forbidden":            {err: refusal(http.StatusForbidden, metav1.StatusReasonForbidden), want: "Refused: Forbidden", event: "ScheduleRefused"},
		"invalid":              {err: refusal(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid), want: "Refused: Invalid", event: "ScheduleRefused"},
		"the run exists":       {stored: own, want: "Coalesced"},
		"another run exists":   {stored: foreign, want: "NameTaken: JobRun " + own.Name + " exists, and is not of this schedule and time", event: "ScheduleRefused"},
		"refused for itself":   {stored: own, err: refusal(http.StatusConflict, metav1.StatusReasonConflict), want: "Coalesced"},
		"the webhook is down":  {err: refusal(http.StatusInternalServerError, metav1.StatusReasonInternalError)},
		"too many requests":    {err: refusal(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)},
		"a timeout":            {err: refusal(http.StatusGatewayTimeout, metav1.StatusReasonTimeout)},
		"a broken connection":  {err: errors.New("connection reset by peer")},
		"the answer is lost":   {err: errors.New("connection reset by peer"), lost: true},
		"the key is reserved":  {err: refusal(http.StatusConflict, metav1.StatusReasonConflict, reserved)},
		"the API server stops": {err: refusal(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)},
	} {
		t.Run(name, func(t *testing.T) {
			stored := []client.Object{makeDefinition(nil)}
			if tc.stored != nil {
				stored = append(stored, tc.stored)
			}
			b := newDefinitionBench(stored...)
			fail := func(verb string, _ client.Object) error {
				if verb == "create" {
					return tc.err
				}
				return nil
			}
			if tc.lost {
				b.store.After = fail
			} else {
				b.store.Before = fail
			}
			_, err := b.Reconcile(t)
			if (err != nil) != (tc.want == "") {
				t.Errorf("error %v", err)
			}
			known := b.definition(t).Status.Schedules[0]
			event := b.nextEvent()
			if known.LastResult != tc.want || !strings.Contains(event, tc.event) || (event == "") != (tc.event == "") {
				t.Errorf("result %q, event %q", known.LastResult, event)
			}
			b.store.Before, b.store.After = nil, nil
			before := len(b.store.Writes())
			if _, err := b.Reconcile(t); err != nil {
				t.Fatal(err)
			}
			retried := slices.ContainsFunc(b.store.Writes()[before:], func(w string) bool { return strings.HasPrefix(w, "create JobRun") })
			if last := b.definition(t).Status.Schedules[0].LastScheduleTime; last == nil || !last.Time.Equal(tickTime) {
				t.Errorf("the time was not handled: %v", last)
			}
			if wantRetry := tc.want == "" && !tc.lost; retried != wantRetry {
				t.Errorf("created again: %t, want %t", retried, wantRetry)
			}
			if names := b.runNames(t); len(names) > 1 {
				t.Errorf("runs %v", names)
			}
		})
	}
}

func TestATickIsNotRetriedAfterItsDeadline(t *testing.T) {
	b := newDefinitionBench(makeDefinition(func(d *v1alpha1.JobDefinition) {
		d.Spec.Schedules[0].Schedule, d.Spec.Schedules[0].StartingDeadlineSeconds = "5 3 * * *", 60
	}))
	b.store.Before = func(verb string, _ client.Object) error {
		if verb == "create" {
			return refusal(http.StatusInternalServerError, metav1.StatusReasonInternalError)
		}
		return nil
	}
	for range 3 {
		if _, err := b.Reconcile(t); err == nil {
			t.Fatal("the create must fail")
		}
		b.clock.Step(25 * time.Second)
	}
	if _, err := b.Reconcile(t); err != nil {
		t.Error(err)
	}
	if got, want := b.definition(t).Status.Schedules[0].LastResult, "Missed: 1m20s late, startingDeadlineSeconds is 60"; got != want {
		t.Errorf("result %q, want %q", got, want)
	}
	if e := b.nextEvent(); !strings.Contains(e, "ScheduleMissed") {
		t.Errorf("event %q", e)
	}
}

// An older replica would take the run of a tick for a worker's. The tick waits until there is none, and says so.
func TestATickWaitsForOlderReplicas(t *testing.T) {
	defines := false
	b := newDefinitionBench(makeDefinition(nil))
	b.bench.Defines = func() bool { return defines }
	for range 2 {
		result, err := b.Reconcile(t)
		if err != nil || result.RequeueAfter != delayedRetry {
			t.Fatalf("%+v, %v", result, err)
		}
		if e := b.nextEvent(); !strings.Contains(e, "ScheduleDelayed schedule minutely of 2026-01-02T03:05:00Z: a replica of the operator is of an older") {
			t.Errorf("event %q", e)
		}
		known := b.definition(t).Status.Schedules[0]
		if len(b.runNames(t)) > 0 || known.LastScheduleTime != nil || !known.NextScheduleTime.Time.Equal(tickTime) {
			t.Errorf("runs %v, status %+v", b.runNames(t), known)
		}
		b.clock.Step(delayedRetry)
	}
	defines = true
	if _, err := b.Reconcile(t); err != nil {
		t.Fatal(err)
	}
	if names := b.runNames(t); !slices.Equal(names, []string{schedule.RunName(wrappers.JobName, "minutely", tickTime)}) {
		t.Errorf("runs %v", names)
	}
}

// Two controllers that both think the definition theirs, with clocks that differ by 40 s, act at the same time.
func TestTwoControllersTriggerEachTimeOnce(t *testing.T) {
	for round := range 20 {
		b := newDefinitionBench(makeDefinition(func(d *v1alpha1.JobDefinition) { d.CreationTimestamp = metav1.NewTime(tickTime) }))
		clocks := []*clocktesting.FakeClock{clocktesting.NewFakeClock(tickTime), clocktesting.NewFakeClock(tickTime.Add(40 * time.Second))}
		both := []*definitions{b.another(clocks[0]), b.another(clocks[1])}
		for range 30 { // ten minutes
			var reconciles sync.WaitGroup
			for i, each := range both {
				clocks[i].Step(20 * time.Second)
				reconciles.Go(func() {
					if _, err := each.Reconcile(t.Context(), theDefinition); err != nil {
						t.Error(err)
					}
				})
			}
			reconciles.Wait()
		}
		for i, each := range both { // A lost race leaves the status to the next reconcile.
			clocks[i].Step(echoPatience)
			if _, err := each.Reconcile(t.Context(), theDefinition); err != nil {
				t.Error(err)
			}
		}
		var want []string
		for minute := 1; minute <= 10; minute++ {
			want = append(want, schedule.RunName(wrappers.JobName, "minutely", tickTime.Add(time.Duration(minute)*time.Minute)))
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, b.runNames(t)); diff != "" {
			t.Fatalf("round %d, runs (-want +got):\n%s", round, diff)
		}
		if last := b.definition(t).Status.Schedules[0].LastScheduleTime; !last.Time.Equal(tickTime.Add(10 * time.Minute)) {
			t.Errorf("round %d, lastScheduleTime %s", round, last)
		}
	}
}

func TestAThousandDefinitionsOnTheSameMinute(t *testing.T) {
	const many = 1000
	var stored []client.Object
	for i := range many {
		stored = append(stored, makeDefinition(func(d *v1alpha1.JobDefinition) {
			d.Namespace, d.UID = fmt.Sprint("n-", i), types.UID(fmt.Sprint("d-", i))
		}))
	}
	b := newDefinitionBench(stored...)
	both := []*definitions{b.definitions, b.another(b.clock)}
	var creates atomic.Int64
	b.store.Before = func(verb string, _ client.Object) error {
		if verb == "create" {
			creates.Add(1)
		}
		return nil
	}
	requests := make(chan int)
	var workers sync.WaitGroup
	for w := range 2 * definitionsAtOnce {
		workers.Go(func() {
			for i := range requests {
				req := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: fmt.Sprint("n-", i), Name: wrappers.JobName}}
				if _, err := both[w%2].Reconcile(t.Context(), req); err != nil {
					t.Error(err)
				}
			}
		})
	}
	begin := time.Now()
	for i := range many {
		requests <- i
	}
	close(requests)
	workers.Wait()
	if runs := len(b.runNames(t)); runs != many || creates.Load() != many {
		t.Errorf("%d runs after %d creates in %s, want %d", runs, creates.Load(), time.Since(begin), many)
	}
}

// The run of a tick whose ttlSecondsAfterFinished is 0 ends before the status of its definition is written.
func TestRetentionKeepsTheRunOfATick(t *testing.T) {
	ended := func() *v1alpha1.JobRun {
		run := wrappers.MakeJobRun(schedule.RunName(wrappers.JobName, "minutely", tickTime)).Created().TTL(0).Leased(1, "5").
			Ended(v1alpha1.PhaseCompleted).Label(v1alpha1.LabelSchedule, "minutely").Obj()
		run.Annotations = map[string]string{v1alpha1.AnnotationScheduledTime: tickTime.Format(time.RFC3339)}
		return run
	}
	b := newDefinitionBench(makeDefinition(nil), ended())
	retain := func() {
		t.Helper()
		for range 2 { // The first one completes the status of the end.
			if _, err := b.bench.Reconcile(t.Context(), runRequest(wrappers.Namespace, ended().Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	retain()
	if got := b.runNames(t); len(got) != 1 {
		t.Fatal("the run went before the time that triggered it was stored")
	}
	if _, err := b.Reconcile(t); err != nil {
		t.Fatal(err)
	}
	retain()
	if got := b.runNames(t); len(got) != 0 {
		t.Errorf("%v is kept", got)
	}
	if _, err := b.Reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := b.runNames(t); len(got) != 0 {
		t.Errorf("the same time triggered again: %v", got)
	}

	for name, definition := range map[string][]client.Object{
		"the definition is gone": nil, "the schedule is gone": {makeDefinition(func(d *v1alpha1.JobDefinition) { d.Spec.Schedules = nil })},
	} {
		b = newDefinitionBench(append(definition, ended())...)
		if retain(); len(b.runNames(t)) != 0 {
			t.Errorf("%s: the run is kept", name)
		}
	}
	b = newDefinitionBench(ended()) // The cache does not show the definition yet.
	b.bench.Live = newBench(makeDefinition(nil)).store
	if retain(); len(b.runNames(t)) != 1 {
		t.Error("the run went although the API server has its definition")
	}
}

// The JobRun of a tick may be a receipt, which the history of receipts would delete.
func TestRetentionKeepsTheReceiptOfATick(t *testing.T) {
	receipt := wrappers.MakeJobRun(schedule.RunName(wrappers.JobName, "minutely", tickTime)).CoalescedBy("a", "4").BoundTo("a").Settled().
		Label(v1alpha1.LabelSchedule, "minutely").Obj()
	receipt.Annotations = map[string]string{v1alpha1.AnnotationScheduledTime: tickTime.Format(time.RFC3339)}
	b := newDefinitionBench(makeDefinition(nil), receipt, wrappers.MakeJobRun("a").Created().Leased(1, "5").Obj())
	b.bench.ReceiptHistory = 0
	for _, want := range []int{2, 1} {
		if _, err := b.bench.Reconcile(t.Context(), runRequest(wrappers.Namespace, "a")); err != nil {
			t.Fatal(err)
		}
		if got := b.runNames(t); len(got) != want {
			t.Errorf("%v is left, want %d", got, want)
		}
		if _, err := b.Reconcile(t); err != nil { // It stores the time.
			t.Fatal(err)
		}
	}
}

func TestHistory(t *testing.T) {
	run := func(name string, end int) *wrappers.JobRunWrapper {
		return wrappers.MakeJobRun(name).Created().Definition("uid-definition").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).EndedAt(end)
	}
	limited := makeDefinition(func(d *v1alpha1.JobDefinition) {
		d.Spec.Schedules, d.Spec.SuccessfulRunsHistoryLimit, d.Spec.FailedRunsHistoryLimit = nil, ptr.To(int32(1)), ptr.To(int32(0))
	})
	tick := run(schedule.RunName(wrappers.JobName, "minutely", tickTime), 1).Label(v1alpha1.LabelSchedule, "minutely").Obj()
	tick.Annotations = map[string]string{v1alpha1.AnnotationScheduledTime: tickTime.Format(time.RFC3339)}
	scheduled := limited.DeepCopy()
	scheduled.Spec.Schedules = []v1alpha1.JobSchedule{{Name: "minutely", Schedule: "* * * * *", Suspend: ptr.To(true)}}
	for name, tc := range map[string]struct {
		definition *v1alpha1.JobDefinition
		runs       []client.Object
		want       []string
	}{
		"the oldest go": {limited, []client.Object{run("b", 20).Obj(), run("a", 10).Obj(), run("c", 30).Obj()}, []string{
			"delete(Background) JobRun a", "delete(Background) JobRun b",
		}},
		"cancelled ones count as failed": {limited, []client.Object{
			run("a", 10).Obj(), run("b", 20).Phase(v1alpha1.PhaseCancelled).Obj(), run("c", 30).Phase(v1alpha1.PhaseFailed).Obj(),
		}, []string{"delete(Background) JobRun b", "delete(Background) JobRun c"}},
		"runs of a trigger without the definition stay": {limited, []client.Object{
			wrappers.MakeJobRun("a").Created().Ended(v1alpha1.PhaseFailed).Obj(), run("b", 20).Obj(),
		}, nil},
		"receipts go before their run": {limited, []client.Object{
			run("a", 10).Obj(), run("c", 30).Obj(), wrappers.MakeJobRun("r").CoalescedBy("a", "4").Definition("uid-definition").BoundTo("a").Settled().Obj(),
		}, []string{"delete(Background) JobRun r", "delete(Background) JobRun a"}},
		"a run stays whose receipt has no outcome": {limited, []client.Object{
			run("a", 10).Obj(), run("c", 30).Obj(), wrappers.MakeJobRun("r").CoalescedBy("a", "4").BoundTo("a").Obj(),
		}, nil},
		"a run stays whose receipt is not counted": {limited, []client.Object{
			run("a", 10).Obj(), run("c", 30).Obj(), wrappers.MakeJobRun("r").CoalescedBy("a", "4").Obj(),
		}, nil},
		"a run stays whose receipt represents several triggers and is young": {limited, []client.Object{
			run("a", 10).Obj(), run("c", 30).Obj(), wrappers.MakeJobRun("r").CoalescedBy("a", "4").Represents(2).BoundTo("a").Settled().Obj(),
		}, nil},
		"a run stays that represents several triggers and is young": {limited, []client.Object{
			run("a", 10).Represents(2).Obj(), run("c", 30).Obj(),
		}, nil},
		"a run stays that its idempotency key is to remember": {limited, []client.Object{
			run("a", 10).IdempotencyKey("i").Remembered(60).Obj(), run("c", 30).Obj(),
			wrappers.MakeIdempotencyKey("i").Owner("a").Remembered(60).Obj(),
		}, nil},
		"a run stays whose time is not stored": {scheduled, []client.Object{tick, run("c", 30).Obj()}, nil},
		"a run of a Job stays for a minute":    {limited, []client.Object{run("a", 10).Template().Obj(), run("c", 30).Obj()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newDefinitionBench(append(tc.runs, tc.definition)...)
			if _, err := b.Reconcile(t); err != nil {
				t.Fatal(err)
			}
			deleted := slices.DeleteFunc(b.store.Writes(), func(write string) bool { return !strings.HasPrefix(write, "delete") })
			if diff := cmp.Diff(tc.want, deleted, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("deleted (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("the run of a Job goes a minute after it was seen", func(t *testing.T) {
		b := newDefinitionBench(limited, run("a", 10).Template().Obj(), run("c", 30).Obj())
		for i, want := range []int{2, 1} {
			result, err := b.Reconcile(t)
			if err != nil || len(b.runNames(t)) != want {
				t.Errorf("look %d: %v, %v", i, b.runNames(t), err)
			}
			b.clock.Step(result.RequeueAfter)
		}
	})
	t.Run("at most 100 in one reconcile", func(t *testing.T) {
		stored := []client.Object{limited}
		for i := range 120 {
			stored = append(stored, run(fmt.Sprintf("a-%03d", i), i).Obj())
		}
		b := newDefinitionBench(stored...)
		for _, want := range []int{20, 1} {
			if result, err := b.Reconcile(t); err != nil || len(b.runNames(t)) != want {
				t.Errorf("%d runs are left, want %d; %+v, %v", len(b.runNames(t)), want, result, err)
			}
			b.clock.Step(countPeriod)
		}
	})
	t.Run("a run that has changed stays", func(t *testing.T) {
		b := newDefinitionBench(limited, run("a", 10).Obj(), run("c", 30).Obj())
		b.store.Before = func(verb string, o client.Object) error {
			if strings.HasPrefix(verb, "delete") {
				return apierrors.NewConflict(schema.GroupResource{Resource: "jobruns"}, o.GetName(), errors.New("changed"))
			}
			return nil
		}
		if result, err := b.Reconcile(t); err != nil || result.RequeueAfter != staleRetry {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

// Counters are written at most every 5 s, whatever happens to the runs.
func TestCountersAreWrittenSeldom(t *testing.T) {
	b := newDefinitionBench(makeDefinition(func(d *v1alpha1.JobDefinition) { d.Spec.Schedules = nil }))
	b.notes.add(theDefinition.NamespacedName)
	q := &requests{}
	writes := func() int {
		return len(slices.DeleteFunc(b.store.Writes(), func(write string) bool { return !strings.Contains(write, "JobDefinition") }))
	}
	for i := range 100 { // 20 s, a run that waits every 200 ms
		run := wrappers.MakeJobRun(fmt.Sprint("a-", i)).Created().Pending().Obj()
		if err := b.store.Create(t.Context(), withoutVersion(run)); err != nil {
			t.Fatal(err)
		}
		b.runChanges().Create(t.Context(), event.CreateEvent{Object: run}, q)
		for q.due(b.clock.Now()) {
			result, err := b.Reconcile(t)
			if err != nil {
				t.Fatal(err)
			}
			q.add(b.clock.Now(), result.RequeueAfter)
		}
		q.now = b.clock.Now()
		b.clock.Step(200 * time.Millisecond)
	}
	if got := writes(); got < 4 || got > 5 {
		t.Errorf("%d writes in 20 s, want 4 or 5", got)
	}
	b.clock.Step(countPeriod)
	if _, err := b.Reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := b.definition(t).Status.Waiting; *got != 100 {
		t.Errorf("%d wait", *got)
	}
	before := writes()
	b.clock.Step(countPeriod)
	if _, err := b.Reconcile(t); err != nil || writes() != before {
		t.Errorf("wrote the same again, %v", err)
	}
}

func TestTheLastRunIsKnownAfterItIsGone(t *testing.T) {
	b := newDefinitionBench(makeDefinition(func(d *v1alpha1.JobDefinition) { d.Spec.Schedules = nil }))
	b.notes.add(theDefinition.NamespacedName)
	gone := wrappers.MakeJobRun("a").Created().TTL(0).Ended(v1alpha1.PhaseFailed).EndedAt(30).Obj()
	q := &requests{}
	b.runChanges().Delete(t.Context(), event.DeleteEvent{Object: gone}, q)
	if _, err := b.Reconcile(t); err != nil {
		t.Fatal(err)
	}
	status := b.definition(t).Status
	if status.LastOutcome != v1alpha1.PhaseFailed || !status.LastRunTime.Time.Equal(wrappers.At(30).Time) {
		t.Errorf("%+v", status)
	}
	other := wrappers.MakeJobRun("b").Job("undefined").Created().Pending().Obj()
	q = &requests{}
	b.runChanges().Create(t.Context(), event.CreateEvent{Object: other}, q)
	if len(q.at) != 0 {
		t.Error("a job without a definition is reconciled")
	}
}

func TestReadySaysWhatIsWrong(t *testing.T) {
	b := newDefinitionBench(makeDefinition(func(d *v1alpha1.JobDefinition) { d.Spec.Schedules[0].Schedule = "0 0 31 2 *" }))
	b.notes.add(theDefinition.NamespacedName)
	if _, err := b.Reconcile(t); err != nil {
		t.Fatal(err)
	}
	ready := b.definition(t).NotReady()
	if ready == nil || ready.Reason != v1alpha1.ReasonInvalidSchedule || !strings.Contains(ready.Message, "spec.schedules[0].schedule: Invalid value") {
		t.Errorf("Ready is %+v", ready)
	}
	calls := 0
	b.bench.CheckDefinition = func(*v1alpha1.JobDefinition) (string, string) {
		calls++
		return v1alpha1.ReasonDefinitionValid, ""
	}
	edited := b.definition(t)
	edited.Generation++
	if err := b.store.Update(t.Context(), edited); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b.clock.Step(countPeriod)
		if _, err := b.Reconcile(t); err != nil {
			t.Fatal(err)
		}
	}
	if d := b.definition(t); d.NotReady() != nil || d.Status.ObservedGeneration != d.Generation || calls != 1 {
		t.Errorf("status %+v after %d checks", d.Status, calls)
	}
}

// A reconcile of a definition that is deleted meanwhile leaves nothing behind.
func TestNotesOfADefinitionGoWithIt(t *testing.T) {
	b := newDefinitionBench(makeDefinition(nil))
	q := &requests{}
	b.changes().Create(t.Context(), event.CreateEvent{Object: b.definition(t)}, q)
	b.store.Before = func(verb string, o client.Object) error {
		if _, isTick := o.(*v1alpha1.JobRun); isTick && verb == "create" {
			b.changes().Delete(t.Context(), event.DeleteEvent{Object: b.definition(t)}, q)
		}
		return nil
	}
	if _, err := b.Reconcile(t); err != nil || len(b.runNames(t)) != 1 {
		t.Fatalf("%v, %v", b.runNames(t), err)
	}
	if len(b.notes.notes) != 0 {
		t.Errorf("%d notes are left", len(b.notes.notes))
	}
	if _, err := b.Reconcile(t); err != nil || len(b.notes.notes) != 0 {
		t.Errorf("%d notes came back, %v", len(b.notes.notes), err)
	}
	q = &requests{}
	b.runChanges().Create(t.Context(), event.CreateEvent{Object: wrappers.MakeJobRun("a").Created().Pending().Obj()}, q)
	if len(q.at) != 0 {
		t.Error("a run of a definition that is gone is counted")
	}
	b.changes().Create(t.Context(), event.CreateEvent{Object: b.definition(t)}, q)
	if _, err := b.Reconcile(t); err != nil || b.notes.notes[theDefinition.NamespacedName].counted.IsZero() {
		t.Errorf("the notes of a new definition are not kept, %v", err)
	}
}

func TestAnotherReplicasDefinitionIsLeft(t *testing.T) {
	b := newDefinitionBench(makeDefinition(nil))
	b.bench.Shares = partOf(runHome)
	if result, err := b.Reconcile(t); err != nil || result.RequeueAfter != 0 || len(b.store.Writes()) != 0 {
		t.Errorf("%+v, %v, wrote %v", result, err, b.store.Writes())
	}
	b.bench.Shares = partOf(definitionHome(wrappers.JobName))
	if _, err := b.Reconcile(t); err != nil || len(b.store.Writes()) != 2 {
		t.Errorf("%v, wrote %v", err, b.store.Writes())
	}
	q := &requests{}
	b.takeOver([]any{makeDefinition(nil)}, func(_, home string) bool { return home == definitionHome(wrappers.JobName) }, q)
	if len(q.at) != 1 {
		t.Error("a definition that was gained is not reconciled")
	}
}
