// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// podOf returns a Pod of a Job. It runs, unless change says something else.
func podOf(job *batchv1.Job, name string, change func(*corev1.PodStatus)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Namespace, Name: name, UID: wrappers.UIDOf(name),
			Labels: map[string]string{
				batchv1.ControllerUidLabel: string(job.UID), v1alpha1.LabelRun: job.Labels[v1alpha1.LabelRun], v1alpha1.LabelKey: job.Labels[v1alpha1.LabelKey],
			},
			Annotations: map[string]string{v1alpha1.AnnotationToken: job.Annotations[v1alpha1.AnnotationToken]},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if change != nil {
		change(&pod.Status)
	}
	return pod
}

// waits lets the container of a Pod wait.
func waits(reason, message string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase = corev1.PodPending
		s.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}
	}
}

// blocked is a run with a key whose Job executes.
type blocked struct {
	bench
	t   *testing.T
	run *v1alpha1.JobRun
	job *batchv1.Job
}

func newBlocked(t *testing.T, suspend bool) *blocked {
	t.Helper()
	run := made("a").Leased(1, "5").Obj()
	job := makeJob(run, 1).Obj()
	job.Spec.Suspend = &suspend
	return &blocked{newBench(makeKey("k").Leased("a", 1, "5").Obj(), run, job), t, run, job}
}

// after reconciles when some time has passed, and expects this status.error and the time of the next look.
func (b *blocked) after(wait time.Duration, want string, next time.Duration) {
	b.t.Helper()
	b.clock.Step(wait)
	result, err := b.Reconcile(b.t.Context(), home)
	if err != nil || result.RequeueAfter != next {
		b.t.Errorf("again after %s, error %v; want %s", result.RequeueAfter, err, next)
	}
	run := &v1alpha1.JobRun{}
	if err := b.store.Get(b.t.Context(), client.ObjectKeyFromObject(b.run), run); err != nil {
		b.t.Fatal(err)
	}
	if run.Status.Error != want {
		b.t.Errorf("status.error %q, want %q", run.Status.Error, want)
	}
}

func (b *blocked) put(object client.Object) {
	b.t.Helper()
	if err := b.store.Create(b.t.Context(), object); err != nil {
		b.t.Fatal(err)
	}
}

func (b *blocked) set(object client.Object) {
	b.t.Helper()
	stored := object.DeepCopyObject().(client.Object)
	if err := b.store.Get(b.t.Context(), client.ObjectKeyFromObject(object), stored); err != nil {
		b.t.Fatal(err)
	}
	object.SetResourceVersion(stored.GetResourceVersion())
	var err error
	if _, ok := object.(*corev1.Pod); ok {
		err = b.store.Status().Update(b.t.Context(), object)
	} else {
		err = b.store.Update(b.t.Context(), object)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// expectEvents expects these Events since the last call.
func (b *blocked) expectEvents(want ...string) {
	b.t.Helper()
	var got []string
	for len(b.events.Events) > 0 {
		got = append(got, <-b.events.Events)
	}
	if len(got) != len(want) {
		b.t.Fatalf("events %q, want %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			b.t.Errorf("event %q, want %q", got[i], want[i])
		}
	}
}

func TestObstacleOfAPod(t *testing.T) {
	b := newBlocked(t, false)
	pod := podOf(b.job, "p", waits("ErrImagePull", "no such image"))
	b.put(pod)
	b.after(0, "", 3*time.Second) // It may pass by itself.
	const text = "container main of Pod p waits (ImagePullBackOff): no such image"
	b.after(3*time.Second, text, 0)
	b.expectEvents("Warning RunBlocked " + text)

	waits("ImagePullBackOff", `Back-off pulling image "x": ErrImagePull: no such image`)(&pod.Status)
	b.set(pod)
	writes := len(b.store.Writes())
	b.after(0, text, 10*time.Second)
	b.after(10*time.Second, text, 0)
	if n := len(b.store.Writes()); n != writes {
		t.Errorf("it wrote %v for the same obstacle", b.store.Writes()[writes:])
	}

	waits("CreateContainerConfigError", `secret "s" not found`)(&pod.Status)
	b.set(pod)
	const other = `container main of Pod p waits (CreateContainerConfigError): secret "s" not found`
	b.after(time.Second, other, 0)
	b.expectEvents("Warning RunBlocked " + other)

	podOf(b.job, "p", nil).Status.DeepCopyInto(&pod.Status)
	b.set(pod)
	b.after(time.Second, "", 0)
	b.expectEvents()
}

// Other texts about one run follow at intervals, and another number alone is not told.
func TestObstacleThatChangesAllTheTime(t *testing.T) {
	b := newBlocked(t, false)
	unscheduled := func(message string) func(*corev1.PodStatus) {
		return func(s *corev1.PodStatus) {
			s.Phase = corev1.PodPending
			s.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: message}}
		}
	}
	pod := podOf(b.job, "p", unscheduled("0/5 nodes are available"))
	b.put(pod)
	b.after(0, "", 3*time.Second)
	const text = "Pod p is not scheduled (Unschedulable): "
	b.after(3*time.Second, text+"0/5 nodes are available", 0)
	b.after(0, text+"0/5 nodes are available", 10*time.Second)
	unscheduled("0/6 nodes are available")(&pod.Status)
	b.set(pod)
	b.after(10*time.Second, text+"0/5 nodes are available", 0)
	unscheduled("no node fits")(&pod.Status)
	b.set(pod)
	b.after(time.Second, text+"no node fits", 0)
	b.after(0, text+"no node fits", 10*time.Second)
	unscheduled("no node fits at all")(&pod.Status)
	b.set(pod)
	b.after(time.Second, text+"no node fits", 9*time.Second)
	b.after(8*time.Second, text+"no node fits", time.Second)
	b.after(time.Second, text+"no node fits at all", 0)
}

func TestObstacleOfASuspendedJob(t *testing.T) {
	b := newBlocked(t, true)
	b.after(0, "", 3*time.Second)
	b.after(3*time.Second, "Job a-1 is suspended", 0)
	resumed := b.job.DeepCopy()
	resumed.Spec.Suspend = new(false)
	b.set(resumed)
	b.put(podOf(b.job, "p", nil))
	b.after(0, "", 0)
}

// A Job without Pods: the Event of the Job controller tells why. It is read live, at longer and longer intervals.
func TestObstacleOfAJobWithoutPods(t *testing.T) {
	b := newBlocked(t, false)
	event := func(name, reason, message string, at int) *corev1.Event {
		return &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Namespace: b.job.Namespace, Name: name},
			InvolvedObject: corev1.ObjectReference{Kind: "Job", Name: b.job.Name, UID: b.job.UID},
			Reason:         reason, Message: message, LastTimestamp: wrappers.At(at),
		}
	}
	another := event("another", "FailedCreate", "another Job", 9)
	another.InvolvedObject.UID = "another"
	b.put(another)
	b.put(event("e1", "FailedCreate", `Error creating: pods "a-1-" is forbidden: exceeded quota: q`, 2))
	b.put(event("e2", "FailedCreate", "Error creating: before", 1))
	b.put(event("e3", "Suspended", "Job suspended", 3))
	b.after(0, "", 3*time.Second)
	const text = `Job a-1 has no Pods (FailedCreate): pods "a-1-" is forbidden: exceeded quota: q`
	b.after(3*time.Second, text, 3*time.Second)
	b.expectEvents("Warning RunBlocked " + text)
	reads := b.store.Reads()
	b.after(time.Second, text, 2*time.Second)
	if n := b.store.Reads() - reads; n > 8 {
		t.Errorf("%d reads of an obstacle that is known", n)
	}
	b.after(2*time.Second, text, 6*time.Second)
	b.after(6*time.Second, text, 2*time.Second)
	b.store.ReadList = func(list client.ObjectList, _ *client.ListOptions) error {
		if _, ok := list.(*corev1.EventList); ok {
			return errors.New("events is forbidden")
		}
		return nil
	}
	b.after(12*time.Second, text, 24*time.Second) // What cannot be read changes nothing.
	b.after(time.Second, text, 23*time.Second)
	b.store.ReadList = nil
	b.put(podOf(b.job, "p", nil))
	b.after(0, "", 0)
	b.expectEvents()
}

// A Job that ends, or is being deleted, has no obstacle, and a run that must end is not told of one.
func TestNoObstacle(t *testing.T) {
	stuck := func(job *batchv1.Job) client.Object { return podOf(job, "p", waits("ErrImagePull", "no such image")) }
	leased := func() *wrappers.JobRunWrapper { return made("a").Leased(1, "5") }
	for name, tc := range map[string]struct {
		run *wrappers.JobRunWrapper
		job func(*wrappers.JobWrapper) *wrappers.JobWrapper
	}{
		"the Job is being deleted": {leased(), (*wrappers.JobWrapper).Deleting},
		"the run is cancelled":     {leased().Cancel(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			job := makeJob(tc.run.Obj(), 1)
			if tc.job != nil {
				job = tc.job(job)
			}
			c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), tc.run.Obj(), job.Obj(), stuck(job.Obj()))
			c.observe()
			c.clock.Step(time.Minute)
			o := c.observe()
			for _, step := range []string{"follow-lease", "delete-stray-job"} {
				o.Blocked[step] = true
			}
			if plan := decision.Decide(decision.NewSnapshot(o)); plan.Step == "tell-obstacle" {
				t.Errorf("it tells: %s", plan)
			}
		})
	}
}

func TestUnclaimed(t *testing.T) {
	waiting := func() *wrappers.JobRunWrapper { return makeRun("a").Key("k").Created().Pending() }
	elsewhere := func() *wrappers.JobRunWrapper { return makeRun("b").Created().Leased(1, "") }
	const text = "no worker has claimed this run for 30s; is a worker for jobName job running?"
	told := `tell-obstacle: CheckKey; WriteStatus(a, Pending, "` + text + `"); Emit(RunUnclaimed a)`
	for name, tc := range map[string]struct {
		objects []client.Object
		want    string
	}{
		"no worker":                       {of(makeKey("k").Pending("a").Obj(), waiting().Obj()), told},
		"no worker, without a key":        {of(makeRun("a").Created().Pending().Obj()), `tell-obstacle: WriteStatus(a, Pending, "` + text + `"); Emit(RunUnclaimed a)`},
		"told before":                     {of(makeKey("k").Pending("a").Obj(), waiting().Error(text).Obj()), ""},
		"a worker of another job":         {of(makeKey("k").Pending("a").Obj(), waiting().Obj(), elsewhere().Job("other").Obj()), told},
		"a worker of the job is busy":     {of(makeKey("k").Pending("a").Obj(), waiting().Obj(), elsewhere().Obj()), ""},
		"a Job of that name proves none":  {of(makeKey("k").Pending("a").Obj(), waiting().Obj(), elsewhere().Template().Obj()), told},
		"another run executes":            {of(makeKey("k").Pending("a").Leased("b", 1, "5").Obj(), waiting().Obj(), elsewhere().Key("k").Obj()), ""},
		"its claim is granted":            {of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), waiting().Obj(), makeRun("b").Key("k").Created().Pending().Obj()), ""},
		"it is cancelled":                 {of(makeRun("a").Created().Pending().Cancel().Obj()), ""},
		"a worker claimed it":             {of(makeKey("k").Leased("a", 1, "5").Obj(), waiting().Leased(1, "5").Error(text).Obj()), `tell-obstacle: CheckKey; WriteStatus(a, Leased, "")`},
		"a worker that wrote its own":     {of(makeKey("k").Leased("a", 1, "5").Obj(), waiting().Leased(1, "5").Error("no luck").Obj()), ""},
		"a run with a template that says": {of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Error(text).Obj()), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, tc.objects...)
			c.observe()
			c.clock.Step(29 * time.Second)
			if o := c.observe(); o.Executions["uid-a"] != nil && o.Executions["uid-a"].UnclaimedFor > 0 {
				t.Error("it is impatient")
			}
			c.clock.Step(time.Second)
			o := c.observe()
			o.Blocked["follow-lease"], o.Blocked["cancel-waiting"] = true, true
			got := ""
			if plan := decision.Decide(decision.NewSnapshot(o)); plan.Step == "tell-obstacle" {
				got = plan.String()
			}
			if got != tc.want {
				t.Errorf("plan\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

// A worker may claim and end a run before the operator has removed its own text. The API server lets the operator remove
// it as long as the end is not complete.
func TestUnclaimedTextOfAnEndedRun(t *testing.T) {
	const text = "no worker has claimed this run for 30s; is a worker for jobName job running?"
	run := makeRun("a").Key("k").Created().Leased(1, "5").Holder("w").Ended(v1alpha1.PhaseCompleted).Error(text).Obj()
	run.Status.CompletionTime, run.Status.Conditions = nil, nil
	c := newScene(t, run)
	if err := c.carryOut(t.Context(), c.req, decision.DecideReport(c.run("a"), now)); err != nil {
		t.Fatal(err)
	}
	if s := c.run("a").Status; s.Error != "" || s.CompletionTime == nil {
		t.Errorf("status %+v", s)
	}
	// A worker that wrote the time itself has completed the end.
	run.Status.CompletionTime = &now
	c = newScene(t, run)
	if err := c.carryOut(t.Context(), c.req, decision.DecideReport(c.run("a"), now)); err != nil {
		t.Fatal(err)
	}
	if s := c.run("a").Status; s.Error != text || !meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionComplete) {
		t.Errorf("status %+v", s)
	}
}
