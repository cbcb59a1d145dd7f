// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// bench is a controller over a fake store. Tests let it carry plans out.
type bench struct {
	*Reconciler
	store  *wrappers.Store
	clock  *clocktesting.FakeClock
	events *events.FakeRecorder
}

func newBench(stored ...client.Object) bench {
	var fields []wrappers.Index
	for _, f := range cache.Fields {
		fields = append(fields, wrappers.Index(f))
	}
	// The API server itself supports these field selectors.
	fields = append(fields, wrappers.Index{Object: &corev1.Event{}, Field: involvedObjectUID, Extract: func(o client.Object) []string {
		return []string{string(o.(*corev1.Event).InvolvedObject.UID)}
	}})
	fields = append(fields, wrappers.Index{Object: &v1alpha1.JobRun{}, Field: "status.phase", Extract: func(o client.Object) []string {
		return []string{string(o.(*v1alpha1.JobRun).Status.Phase)}
	}})
	for i, o := range stored {
		stored[i] = o.DeepCopyObject().(client.Object)
	}
	store := wrappers.NewStore(fields, withPods(stored)...)
	clock := clocktesting.NewFakeClock(now.Time)
	recorder := events.NewFakeRecorder(100)
	return bench{NewReconciler(store, store, recorder, Options{
		Keys:           keystore.New(keystore.Options{Cached: store, Live: store, Writer: store, Clock: clock}),
		ReceiptHistory: 100, ReservationGrace: 90 * time.Second, IdempotencyGrace: 90 * time.Second, SweepPeriod: time.Minute, Clock: clock, Concurrency: 1,
	}), store, clock, recorder}
}

// withPods adds a Pod that succeeded without a message for each Job that completed, unless there are Pods.
func withPods(stored []client.Object) []client.Object {
	if len(all[*corev1.Pod](stored)) > 0 {
		return stored
	}
	for _, job := range all[*batchv1.Job](stored) {
		if end := executor.ResultOf(job); end != nil && end.Type == batchv1.JobComplete {
			stored = append(stored, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: job.Namespace, Name: job.Name + "-x", Labels: map[string]string{batchv1.ControllerUidLabel: string(job.UID)},
				},
				Status: corev1.PodStatus{Phase: corev1.PodSucceeded},
			})
		}
	}
	return stored
}

// decidedOn returns an action that is based on this key and these runs. Both may be outdated.
func (b bench) decidedOn(key *v1alpha1.RunKey, runs ...*v1alpha1.JobRun) *action {
	o := b.newObserver(home).Observation
	o.Key, o.Keyed, o.Runs = key, true, runs
	return b.newAction(home, decision.NewSnapshot(o))
}

// outcome returns the kind of result of an operation.
func outcome(err error) string {
	var refused *refusedError
	var waiting *waitingError
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &refused) && refused.refusal.Final:
		return "refused for good"
	case errors.As(err, &refused):
		return "refused"
	case errors.Is(err, errStale):
		return "stale"
	case errors.As(err, &waiting):
		return "waiting"
	default:
		return "error"
	}
}

// delayOf returns the time until the controller looks again after an error.
func delayOf(err error) time.Duration {
	var refused *refusedError
	var waiting *waitingError
	switch {
	case errors.As(err, &refused):
		return refused.holdOff
	case errors.As(err, &waiting):
		return waiting.poll
	default:
		return 0
	}
}

func writesOf(b bench) string { return strings.Join(b.store.Writes(), "; ") }

func TestActChecks(t *testing.T) {
	key := makeKey("k").Leased("a", 1, "5")
	run := made("a").Pending()
	anotherKey := makeKey("k").Leased("a", 1, "5").Obj()
	anotherKey.UID = "earlier"
	for name, tc := range map[string]struct {
		stored []client.Object
		key    *v1alpha1.RunKey
		op     decision.Op
		want   string
	}{
		"the key is as it was":             {of(key.Obj()), makeKey("k").Obj(), decision.CheckKey{}, "done"},
		"the key changed":                  {of(key.Obj()), makeKey("k").ResourceVersion("9").Obj(), decision.CheckKey{}, "stale"},
		"another key has the name":         {of(key.Obj()), anotherKey, decision.CheckKey{}, "stale"},
		"the key is gone":                  {nil, makeKey("k").Obj(), decision.CheckKey{}, "stale"},
		"the key was created since":        {of(key.Obj()), nil, decision.CheckKey{}, "stale"},
		"there is no key, as before":       {nil, nil, decision.CheckKey{}, "done"},
		"the run is as it was":             {of(run.Obj()), nil, decision.CheckRun{Run: made("a").Obj()}, "done"},
		"the run changed":                  {of(run.Obj()), nil, decision.CheckRun{Run: made("a").ResourceVersion("9").Obj()}, "stale"},
		"another run has the name":         {of(run.Obj()), nil, decision.CheckRun{Run: made("a").UID("earlier").Obj()}, "stale"},
		"the run is gone":                  {nil, nil, decision.CheckRun{Run: made("a").Obj()}, "stale"},
		"the key changed before the swap":  {of(key.Obj()), makeKey("k").ResourceVersion("9").Obj(), decision.SwapKey{Next: makeKey("k").Pending("a").Row()}, "stale"},
		"the key exists before the swap":   {of(key.Obj()), nil, decision.SwapKey{Next: makeKey("k").Pending("a").Row()}, "stale"},
		"the key is swapped":               {of(key.Obj()), makeKey("k").Obj(), decision.SwapKey{Next: makeKey("k").Pending("a").Row()}, "done"},
		"the run changed before the write": {of(run.Obj()), nil, decision.WriteStatus{Run: made("a").ResourceVersion("9").Obj(), Status: run.Obj().Status}, "stale"},
		"the run is gone before the write": {nil, nil, decision.WriteStatus{Run: made("a").Obj(), Status: run.Obj().Status}, "stale"},
		"the status is written":            {of(run.Obj()), nil, decision.WriteStatus{Run: made("a").Obj(), Status: made("a").Leased(1, "5").Obj().Status}, "done"},
		"the run is deleted":               {of(run.Obj()), nil, decision.DeleteRun{Run: made("a").Obj()}, "done"},
		"a changed run is not deleted":     {of(run.Obj()), nil, decision.DeleteRun{Run: made("a").ResourceVersion("9").Obj()}, "stale"},
		"another run is not deleted":       {of(run.Obj()), nil, decision.DeleteRun{Run: made("a").UID("earlier").Obj()}, "stale"},
		"the run is deleted already":       {nil, nil, decision.DeleteRun{Run: made("a").Obj()}, "done"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(tc.stored...)
			a := b.decidedOn(tc.key)
			a.job = makeJob(made("a").Obj(), 1).Obj()
			if got := outcome(a.do(t.Context(), tc.op)); got != tc.want {
				t.Errorf("%T: %s, want %s", tc.op, got, tc.want)
			}
			if writes := b.store.Writes(); tc.want == "stale" && len(writes) > 0 {
				t.Errorf("written: %v", writes)
			}
		})
	}
}

// An operation returns every error that is not a conflict.
func TestActErrors(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "x", errors.New("x"))
	run := made("a").Obj()
	for name, op := range map[string]decision.Op{
		"check the key":  decision.CheckKey{},
		"check a run":    decision.CheckRun{Run: run},
		"swap the key":   decision.SwapKey{Next: makeKey("k").Pending("a").Row()},
		"write a status": decision.WriteStatus{Run: run, Status: run.Status},
		"delete a Job":   decision.DeleteJob{Job: makeJob(run, 1).Obj()},
		"delete a run":   decision.DeleteRun{Run: run},
		"unknown":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench()
			b.store.Before = func(string, client.Object) error { return forbidden }
			b.store.Read = func(client.ObjectKey, client.Object) error { return forbidden }
			if got := outcome(b.decidedOn(nil).do(t.Context(), op)); got != "error" {
				t.Errorf("%s, want an error", got)
			}
		})
	}
}

// A plan ends with the first operation that fails.
func TestActInOrder(t *testing.T) {
	a, r := made("a").Pending().Obj(), answered("r", "a", "10").Obj()
	count := made("a").Pending().Counted("r").Obj().Status
	plan := decision.Plan{Step: "count-receipts", Ops: []decision.Op{
		decision.CheckKey{},
		decision.WriteStatus{Run: a, Status: count},
		decision.Emit{Event: decision.Event{Run: a, Related: r, Reason: decision.EventCoalesced, Action: decision.ActionCoalesced}},
		decision.WriteStatus{Run: r, Status: answered("r", "a", "10").BoundTo("a").Obj().Status},
	}}
	for name, tc := range map[string]struct {
		fail   string
		want   string
		writes string
		events int
	}{
		"nothing fails":     {"", "done", "status JobRun a; status JobRun r", 1},
		"the key fails":     {"key", "stale", "", 0},
		"the run fails":     {"a", "error", "", 0},
		"the receipt fails": {"r", "error", "status JobRun a", 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(makeKey("k").Pending("a").Obj(), a, r)
			b.store.Before = func(_ string, o client.Object) error {
				if o.GetName() == tc.fail {
					return errors.New("connection refused")
				}
				return nil
			}
			key := makeKey("k").Obj()
			if tc.fail == "key" {
				key.ResourceVersion = "9"
			}
			err := b.decidedOn(key, a).act(t.Context(), plan)
			if outcome(err) != tc.want || (err != nil && !strings.HasPrefix(err.Error(), `count-receipts of run a (job job, key "k"): `)) {
				t.Errorf("%v, want %s", err, tc.want)
			}
			if got := writesOf(b); got != tc.writes {
				t.Errorf("writes %q, want %q", got, tc.writes)
			}
			if n := len(b.events.Events); n != tc.events {
				t.Errorf("%d events, want %d", n, tc.events)
			}
		})
	}
}

// A deletion that fails does not stop the other deletions.
func TestActDeletesTheOthers(t *testing.T) {
	p, q := answered("p", "a", "4").Obj(), answered("q", "a", "4").Obj()
	b := newBench(p, q)
	b.store.Before = func(_ string, o client.Object) error {
		if o.GetName() == "p" {
			return errors.New("denied by a policy")
		}
		return nil
	}
	err := b.decidedOn(nil, p, q).act(t.Context(), decision.Plan{Step: "trim-receipts", Ops: []decision.Op{decision.DeleteRun{Run: p}, decision.DeleteRun{Run: q}}})
	if got := outcome(err); got != "error" {
		t.Errorf("%s, want an error", got)
	}
	if got, want := writesOf(b), "delete(Background) JobRun q"; got != want {
		t.Errorf("writes %q, want %q", got, want)
	}
}

// If a receipt has a larger input than its run, the output of the run, or why the run failed, may not fit into the receipt.
func TestReceiptWithoutRoomForTheOutcome(t *testing.T) {
	run := made("a").Leased(1, "5").Obj()
	receipt := answered("r", "a", "4").BoundTo("a").Obj()
	settled := answered("r", "a", "4").BoundTo("a").Settled().Obj().Status
	output, failed := settled.DeepCopy(), settled.DeepCopy()
	output.Output = &apiextensionsv1.JSON{Raw: []byte(`{"rows":3}`)}
	failed.Failure = &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3))}
	testWithoutRoom(t, run, receipt, *output)
	testWithoutRoom(t, run, receipt, *failed)
}

func testWithoutRoom(t *testing.T, run, receipt *v1alpha1.JobRun, settled v1alpha1.JobRunStatus) {
	t.Helper()
	isLong := func(run *v1alpha1.JobRun) bool { return run.Status.Output != nil || run.Status.Failure != nil }
	b := newBench(run, receipt)
	b.store.Before = func(_ string, o client.Object) error {
		if isLong(o.(*v1alpha1.JobRun)) {
			return apierrors.NewInternalError(errors.New("etcdserver: request is too large"))
		}
		return nil
	}
	if err := b.decidedOn(nil, receipt).act(t.Context(), decision.Plan{Ops: []decision.Op{decision.WriteStatus{Run: receipt, Status: settled}}}); err != nil {
		t.Fatal(err)
	}
	stored := &v1alpha1.JobRun{}
	if err := b.store.Get(t.Context(), client.ObjectKeyFromObject(receipt), stored); err != nil {
		t.Fatal(err)
	}
	if !stored.HasOutcome() || isLong(stored) {
		t.Errorf("status %+v", stored.Status)
	}
}

// If the end of a Job was not seen live, the swap that gives its lease up notes the Job, and the next run does not start.
func TestActStartsTheNextRunOnlyAfterAnEnd(t *testing.T) {
	a, next := made("a").Leased(1, "3").Ended(v1alpha1.PhaseCompleted).Obj(), made("b").Pending().Obj()
	keyName := makeKey("k").Obj().Name
	for name, tc := range map[string]struct {
		job    []client.Object
		writes string
	}{
		"the Job has finished": {of(makeJob(a, 1).Complete().Obj()), "update RunKey " + keyName + "; create Job b-1"},
		"the Job is gone":      {nil, "update RunKey " + keyName},
	} {
		t.Run(name, func(t *testing.T) {
			key := makeKey("k").Leased("a", 1, "5").Pending("b").Obj()
			b := newBench(append(of(key, a, next), tc.job...)...)
			plan := decision.Plan{Ops: []decision.Op{
				decision.StopRun{Run: runkey.IdentityOf(a), Generation: 1},
				decision.SwapKey{
					Next:        makeKey("k").Leased("b", 1, "10").Row(),
					Noted:       makeKey("k").Pending("b").Unconfirmed("a-1", "token-a").Row(),
					NotedIsLast: true,
				},
				decision.CreateJob{Run: next, Generation: 1, KeyVersion: "10"},
			}}
			if err := b.decidedOn(key, a, next).act(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if got := writesOf(b); got != tc.writes {
				t.Errorf("writes %q, want %q", got, tc.writes)
			}
		})
	}
}

// One plan may write a run twice, and check it in between.
func TestActOnItsOwnWrites(t *testing.T) {
	run := made("a").Leased(1, "5").Obj()
	b := newBench(run, makeKey("k").Leased("a", 1, "5").Obj())
	a := b.decidedOn(makeKey("k").Obj(), run)
	fenced := made("a").Leased(1, "5").Fenced().Obj().Status
	pending := *fenced.DeepCopy()
	pending.Phase = v1alpha1.PhasePending
	plan := decision.Plan{Ops: []decision.Op{
		decision.CheckKey{}, decision.WriteStatus{Run: run, Status: fenced}, decision.CheckRun{Run: run}, decision.SwapKey{Next: makeKey("k").Pending("a").LastGeneration(2).Row()},
		decision.CheckKey{}, decision.WriteStatus{Run: run, Status: pending}, decision.SwapKey{}, decision.CheckKey{},
	}}
	if err := a.act(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	stored := &v1alpha1.JobRun{}
	if err := b.store.Get(t.Context(), client.ObjectKeyFromObject(run), stored); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pending, stored.Status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if run.Status.Phase != v1alpha1.PhaseLeased {
		t.Error("the action changed the run of the cache")
	}
}

// The action writes the Job that it created or found into status.jobRef, if the status is Leased.
func TestActNamesTheJob(t *testing.T) {
	run, leased := made("a").Pending().Obj(), made("a").Leased(1, "10").Obj()
	leased.Status.JobRef = nil
	for name, tc := range map[string]struct {
		status v1alpha1.JobRunStatus
		job    bool
		want   *v1alpha1.ObjectReference
	}{
		"a lease":               {leased.Status, true, &v1alpha1.ObjectReference{Name: "a-1", UID: "uid-1"}},
		"a lease without a Job": {leased.Status, false, nil},
		"no lease":              {run.Status, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(run)
			a := b.decidedOn(nil, run)
			if tc.job {
				if err := a.do(t.Context(), decision.CreateJob{Run: run, Generation: 1, KeyVersion: ""}); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.do(t.Context(), decision.WriteStatus{Run: run, Status: tc.status}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, a.latest(run).Status.JobRef); diff != "" {
				t.Errorf("jobRef (-want +got):\n%s", diff)
			}
		})
	}
}

func TestActCreateJob(t *testing.T) {
	run := made("a").Obj()
	jobs := schema.GroupResource{Group: "batch", Resource: "jobs"}
	foreign := makeJob(run, 1).Obj()
	foreign.OwnerReferences = nil
	ofAnother := makeJob(made("b").Obj(), 1).Obj()
	ofAnother.Name = "a-1"
	earlier := makeJob(made("a").UID("earlier").Token("earlier").Obj(), 1).Obj()
	// The API server returns this error if a webhook denies a request without a code.
	denied := &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusBadRequest, Message: "denied"}}
	for name, tc := range map[string]struct {
		stored []client.Object
		err    error
		want   string
		job    types.UID
		writes string
		after  time.Duration
	}{
		"created":                     {want: "done", job: "uid-1", writes: "create Job a-1"},
		"created before":              {stored: of(makeJob(run, 1).Obj()), want: "done", job: "uid-a-1"},
		"a Job of an earlier run":     {stored: of(run, earlier), want: "waiting", writes: "delete(Foreground) Job a-1", after: time.Second},
		"a Job of a run of that name": {stored: of(made("a").UID("earlier").Token("earlier").Obj(), earlier), want: "stale"},
		"a Job of a run that is gone": {stored: of(earlier), want: "stale"},
		"a Job of another owner":      {stored: of(foreign), want: "refused for good"},
		"a Job of another run":        {stored: of(ofAnother), want: "refused for good"},
		"invalid":                     {err: apierrors.NewInvalid(schema.GroupKind{Kind: "Job"}, "a-1", field.ErrorList{field.Required(field.NewPath("spec"), "")}), want: "refused for good"},
		"a policy says it is invalid": {err: apierrors.NewInvalid(schema.GroupKind{Kind: "Job"}, "a-1", nil), want: "refused", after: time.Second},
		"a webhook refuses it":        {err: denied, want: "refused", after: time.Second},
		"the fence refuses it": {
			err: apierrors.NewConflict(jobs, "a-1", errors.New(`admission webhook "fence.batch.jobrun.dev" denied the request`)), want: "stale",
		},
		"another webhook refuses it, too": {
			err: apierrors.NewConflict(jobs, "a-1", errors.New(`admission webhook "other" denied the request`)), want: "refused", after: time.Second,
		},
		"no quota":                       {err: apierrors.NewForbidden(jobs, "a-1", errors.New("exceeded quota")), want: "refused", after: time.Second},
		"a webhook is down":              {err: apierrors.NewInternalError(errors.New("x")), want: "refused", after: time.Second},
		"the request times out":          {err: apierrors.NewTimeoutError("x", 1), want: "refused", after: time.Second},
		"the API server does not answer": {err: errors.New("connection refused"), want: "refused", after: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(tc.stored...)
			if tc.err != nil {
				b.store.Before = func(string, client.Object) error { return tc.err }
			}
			a := b.decidedOn(nil, run)
			err := a.do(t.Context(), decision.CreateJob{Run: run, Generation: 1, KeyVersion: ""})
			if got := outcome(err); got != tc.want {
				t.Errorf("%s (%v), want %s", got, err, tc.want)
			}
			if got := writesOf(b); got != tc.writes {
				t.Errorf("writes %q, want %q", got, tc.writes)
			}
			if after := delayOf(err); after != tc.after {
				t.Errorf("look again after %s, want %s", after, tc.after)
			}
			if tc.job != "" && (a.job == nil || a.job.UID != tc.job) {
				t.Errorf("Job %v, want %s", a.job, tc.job)
			}
			if wait := b.sightings.holdOff(run.UID); (tc.want == "refused") != (wait > 0) {
				t.Errorf("hold off %s", wait)
			}
		})
	}
}

// P6: before a claim, the controller stops the Jobs that the key does not lease.
func TestActStopStrays(t *testing.T) {
	a, b := made("a").Obj(), made("b").Obj()
	foreign := makeJob(b, 3).Obj()
	foreign.OwnerReferences = nil
	for name, tc := range map[string]struct {
		stored  []client.Object
		version string
		want    string
		writes  string
	}{
		"no Job":                                  {of(makeKey("k").Pending("a").Obj()), "10", "done", ""},
		"an unfinished Job":                       {of(makeKey("k").Pending("a").Obj(), makeJob(a, 1).Obj()), "10", "waiting", "delete(Foreground) Job a-1"},
		"unfinished Jobs of two runs":             {of(makeKey("k").Pending("a").Obj(), makeJob(a, 1).Obj(), makeJob(b, 2).Obj()), "10", "waiting", "delete(Foreground) Job a-1; delete(Foreground) Job b-2"},
		"a Job that is being deleted":             {of(makeKey("k").Pending("a").Obj(), makeJob(a, 1).Deleting().Obj()), "10", "waiting", ""},
		"a Job that has ended":                    {of(makeKey("k").Pending("a").Obj(), makeJob(a, 1).Complete().Obj()), "10", "done", ""},
		"a Job of another key":                    {of(makeKey("k").Pending("a").Obj(), makeJob(made("c").Key("other").Obj(), 1).Obj()), "10", "done", ""},
		"a Job of another owner, with our labels": {of(makeKey("k").Pending("a").Obj(), foreign), "10", "done", ""},
		"leased since the decision":               {of(makeKey("k").Leased("a", 1, "9").Obj(), makeJob(a, 1).Obj()), "9", "stale", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bench := newBench(tc.stored...)
			got := outcome(bench.decidedOn(makeKey("k").Pending("a").ResourceVersion(tc.version).Obj(), a).do(t.Context(), decision.StopStrays{}))
			if got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if got := writesOf(bench); got != tc.writes {
				t.Errorf("writes %q, want %q", got, tc.writes)
			}
		})
	}
}

// I8: a run has stopped when live reads show no unfinished Job and no running Pod of the run.
func TestActStopRun(t *testing.T) {
	run := made("a").Leased(2, "5").Obj()
	pod := func(name, token string, phase corev1.PodPhase) client.Object {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: wrappers.Namespace, Name: name,
				Labels: map[string]string{v1alpha1.LabelRun: "a"}, Annotations: map[string]string{v1alpha1.AnnotationToken: token},
			},
			Status: corev1.PodStatus{Phase: phase},
		}
	}
	earlier := makeJob(made("a").UID("earlier").Token("earlier").Obj(), 1).Obj()
	for name, tc := range map[string]struct {
		stored []client.Object
		want   string
		writes string
		after  time.Duration
	}{
		"nothing is there":                     {nil, "done", "", 0},
		"its Job runs":                         {of(makeJob(run, 2).Obj()), "waiting", "delete(Foreground) Job a-2", 0},
		"its Job is being deleted":             {of(makeJob(run, 2).Deleting().Obj()), "waiting", "", 0},
		"a noted Job of it runs":               {of(makeJob(run, 2).Complete().Obj(), makeJob(run, 3).Obj()), "waiting", "delete(Foreground) Job a-3", 0},
		"an earlier Job of it runs":            {of(makeJob(run, 1).Obj(), makeJob(run, 2).Complete().Obj()), "waiting", "delete(Foreground) Job a-1", 0},
		"its Job has ended, a Pod runs":        {of(makeJob(run, 2).Failed("x", "").Obj(), pod("p", "token-a", corev1.PodRunning)), "done", "", 0},
		"an earlier Job has ended, a Pod runs": {of(makeJob(run, 1).Failed("x", "").Obj(), pod("p", "token-a", corev1.PodRunning)), "waiting", "", 5 * time.Second},
		"a Pod runs":                           {of(pod("p", "token-a", corev1.PodRunning)), "waiting", "", 5 * time.Second},
		"a Pod is pending":                     {of(pod("p", "token-a", corev1.PodPending)), "waiting", "", 5 * time.Second},
		"a Pod in an unknown phase":            {of(pod("p", "token-a", corev1.PodUnknown)), "waiting", "", 5 * time.Second},
		"Pods have ended":                      {of(pod("p", "token-a", corev1.PodFailed), pod("q", "token-a", corev1.PodSucceeded)), "done", "", 0},
		"a Pod of an earlier run of that name": {of(pod("p", "earlier", corev1.PodRunning)), "done", "", 0},
		"a Job of an earlier run of that name": {of(earlier), "done", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(and(of(run, makeKey("k").Leased("a", 2, "5").Obj()), tc.stored)...)
			a := b.decidedOn(makeKey("k").Unconfirmed("a-3", "token-a").Obj(), run)
			a.s.Jobs = all[*batchv1.Job](tc.stored)
			err := a.do(t.Context(), decision.StopRun{Run: runkey.IdentityOf(run), Generation: 2})
			if got := outcome(err); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if got := writesOf(b); got != tc.writes {
				t.Errorf("writes %q, want %q", got, tc.writes)
			}
			if after := delayOf(err); after != tc.after {
				t.Errorf("look again after %s, want %s", after, tc.after)
			}
		})
	}
	for name, stored := range map[string][]client.Object{
		"the key changed": of(run, makeKey("k").Leased("a", 3, "5").ResourceVersion("11").Obj()),
		"the run changed": of(made("a").Leased(3, "5").ResourceVersion("2").Obj(), makeKey("k").Leased("a", 2, "5").Obj()),
	} {
		t.Run("no Job is stopped if "+name, func(t *testing.T) {
			b := newBench(and(stored, of(makeJob(run, 2).Obj()))...)
			if got := outcome(b.decidedOn(makeKey("k").Obj(), run).do(t.Context(), decision.StopRun{Run: runkey.IdentityOf(run), Generation: 2})); got != "stale" {
				t.Errorf("%s, want stale", got)
			}
			if got := writesOf(b); got != "" {
				t.Errorf("writes %q", got)
			}
		})
	}
}

// The Job of a run may have been deleted before a status named it. Its Pods may still run.
func TestActCheckPods(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: wrappers.Namespace, Name: "p",
			Labels: map[string]string{v1alpha1.LabelRun: "a"}, Annotations: map[string]string{v1alpha1.AnnotationToken: "token-a"},
		},
	}
	for name, want := range map[string]string{"token-a": "waiting", "earlier": "done"} {
		a := newBench(pod).decidedOn(nil)
		if got := outcome(a.do(t.Context(), decision.CheckPods{Run: runkey.Identity{RunName: "a", Token: name}})); got != want {
			t.Errorf("a Pod of token-a and the run %s: %s, want %s", name, got, want)
		}
	}
}

// P6: before a claim, the controller stops the noted Jobs that execute. A Job of that name with another token is left alone.
func TestActCheckUnconfirmed(t *testing.T) {
	a := made("a").Obj()
	namesake := makeJob(made("a").UID("later").Token("later").Obj(), 1).Obj()
	noted := []v1alpha1.UnconfirmedJob{{Job: "a-1", Token: "token-a"}, {Job: "gone-1", Token: "token-gone"}}
	for name, tc := range map[string]struct {
		stored  []client.Object
		version string
		want    string
		writes  string
	}{
		"no Job":                      {nil, "10", "done", ""},
		"an unfinished Job":           {of(makeJob(a, 1).Obj()), "10", "waiting", "delete(Foreground) Job a-1"},
		"a Job that is being deleted": {of(makeJob(a, 1).Deleting().Obj()), "10", "waiting", ""},
		"a Job that has ended":        {of(makeJob(a, 1).Complete().Obj()), "10", "done", ""},
		"a Job that is not noted":     {of(makeJob(a, 3).Obj()), "10", "done", ""},
		"a namesake":                  {of(namesake), "10", "done", ""},
		"leased since the decision":   {of(makeJob(a, 1).Obj()), "9", "stale", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bench := newBench(and(of(makeKey("k").Pending("a").Obj()), tc.stored)...)
			decided := makeKey("k").Pending("a").ResourceVersion(tc.version).Obj()
			got := outcome(bench.decidedOn(decided, a).do(t.Context(), decision.CheckUnconfirmed{Jobs: noted}))
			if got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if got := writesOf(bench); got != tc.writes {
				t.Errorf("writes %q, want %q", got, tc.writes)
			}
		})
	}
}

// P6: the swap that gives a lease up notes its Job, unless a live read shows that the Job has finished.
func TestActNotes(t *testing.T) {
	run := made("a").Leased(1, "5").Obj()
	noted := makeKey("k").Unconfirmed("a-1", "token-a").Row()
	for name, tc := range map[string]struct {
		stored []client.Object
		want   string
		// gone is true if only the cache shows what is stored.
		gone bool
	}{
		"only the cache shows the Job":        {of(makeJob(run, 1).Complete().Obj()), "unconfirmed=a-1", true},
		"the Job has finished":                {of(makeJob(run, 1).Complete().Obj()), "free", false},
		"the Job is gone":                     {nil, "unconfirmed=a-1", false},
		"a finished Job is being deleted":     {of(makeJob(run, 1).Complete().Deleting().Obj()), "unconfirmed=a-1", false},
		"an earlier Job has finished":         {of(makeJob(run, 3).Complete().Obj()), "unconfirmed=a-1", false},
		"a finished Job of an earlier token":  {of(makeJob(made("a").UID("x").Token("x").Obj(), 1).Complete().Obj()), "unconfirmed=a-1", false},
		"a finished Job that belongs to none": {of(orphaned(makeJob(run, 1).Complete().Obj())), "unconfirmed=a-1", false},
	} {
		t.Run(name, func(t *testing.T) {
			key := makeKey("k").Leased("a", 1, "5").Obj()
			b := newBench(and(of(key, run), tc.stored)...)
			if tc.gone {
				b.Live = newBench(key.DeepCopy(), run).store
			}
			a := b.decidedOn(makeKey("k").Leased("a", 1, "5").Obj(), run)
			err := a.act(t.Context(), decision.Plan{Ops: []decision.Op{
				decision.StopRun{Run: runkey.IdentityOf(run), Generation: 1},
				decision.SwapKey{Noted: noted},
			}})
			if err != nil {
				t.Fatal(err)
			}
			var spec *v1alpha1.RunKeySpec
			if a.key != nil {
				spec = &a.key.Spec
			}
			if got := decision.KeyText(spec); got != tc.want {
				t.Errorf("key %q, want %q", got, tc.want)
			}
		})
	}
}

func orphaned(job *batchv1.Job) *batchv1.Job {
	job.OwnerReferences = nil
	return job
}

func TestActEmits(t *testing.T) {
	b := newBench()
	run, receipt := made("a").Obj(), answered("r", "a", "10").Input(`"100%s"`).Obj()
	a := b.decidedOn(nil, run)
	for _, op := range []decision.Op{
		decision.Emit{Event: decision.Event{Run: run, Warning: true, Reason: decision.EventFailed, Note: "50% done"}},
		decision.Emit{Event: decision.Event{Run: run, Related: receipt, Reason: decision.EventCoalesced, Note: `skipped input "100%s"`}},
		decision.Count{Metric: decision.Metric{Kind: decision.Promotion}},
	} {
		if err := a.do(t.Context(), op); err != nil {
			t.Error(err)
		}
	}
	for _, want := range []string{
		"Warning RunFailed 50% done",
		`Normal RunCoalesced skipped input "100%s"`,
	} {
		if got := <-b.events.Events; got != want {
			t.Errorf("event %q, want %q", got, want)
		}
	}
}
