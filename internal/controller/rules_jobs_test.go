// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// jobEvent is one event of the watch of Jobs.
type jobEvent struct{ before, after *wrappers.JobWrapper }

// see lets the controller see events of the watch of Jobs.
func (c *scene) see(events ...jobEvent) {
	object := func(w *wrappers.JobWrapper) *batchv1.Job {
		if w == nil {
			return nil
		}
		return w.Obj()
	}
	for _, e := range events {
		c.SeeJob(object(e.before), object(e.after))
	}
}

// P13: a Job ends a run only by its own end. Of a Job that is gone, the controller knows what it saw.
func TestP13OwnEndOfAJob(t *testing.T) {
	job := func() *wrappers.JobWrapper { return makeJob(made("a").Obj(), 1) }
	const (
		completed = `follow-lease: WriteStatus(a, Completed, finished g1, Complete=Completed,
			"the output is unknown: Job a-1 completed, but its Pods are gone"); Emit(RunCompleted a); Emit(RunOutputLost a); StopRun(a g1); SwapKey(free, or note a-1)`
		failed = `follow-lease: WriteStatus(a, Failed, finished g1, Failed=Evicted, "Evicted: no disk"); Emit(RunFailed a);
			StopRun(a g1); SwapKey(free, or note a-1)`
		requeue = `follow-lease: StopRun(a g1); CheckKey; ConfirmLoss(a); WriteStatus(a, Leased, g2<5, no holder, attempts 1, no job, "%[1]s");
			Emit(JobLost a); SwapKey(pending=a g2, or note a-1); Emit(RunLeaseExpired a); Count(requeued);
			WriteStatus(a, Pending, g2<5, no holder, attempts 1, no job, "%[1]s")`
	)
	unknown := fmt.Sprintf(requeue, "Job a-1 is gone, and it is not known how it ended; if the run executes again, its work may be done twice")
	deleted := fmt.Sprintf(requeue, "Job a-1 was deleted before it ended; if the run executes again, its work may be done twice")
	another := job().Complete().Since(5)
	another.UID = "another"
	for name, tc := range map[string]struct {
		events []jobEvent
		left   *wrappers.JobWrapper // the Job that still exists
		want   string
	}{
		"it completed, and a cleaner deletes it in the same second": {
			events: []jobEvent{{job(), job().Complete().Since(5)}, {job().Complete().Since(5), job().Complete().Since(5).DeletingAt(5)},
				{job().Complete().Since(5).DeletingAt(5), nil}},
			want: completed,
		},
		"it failed, and is gone": {events: []jobEvent{{job().Failed("Evicted", "no disk").Since(5), nil}}, want: failed},
		"it completed, and is being deleted": {
			events: []jobEvent{{job().Complete().Since(5), job().Complete().Since(5).DeletingAt(5)}},
			left:   job().Complete().Since(5).DeletingAt(5),
			want:   completed,
		},
		"it was deleted, and its Pod exits 0 on TERM": {
			events: []jobEvent{{job(), job().DeletingAt(5)}, {job().DeletingAt(5), job().DeletingAt(5).Complete().Since(5)},
				{job().DeletingAt(5).Complete().Since(5), nil}},
			want: deleted,
		},
		"it was deleted, its Pod exits 0, and the Job controller's clock is behind": {
			events: []jobEvent{{job(), job().DeletingAt(5)}, {job().DeletingAt(5), job().DeletingAt(5).Complete().Since(3)}},
			left:   job().DeletingAt(5).Complete().Since(3),
			want:   deleted,
		},
		"it was deleted at once, while it executed": {events: []jobEvent{{job(), nil}}, want: deleted},
		"a list shows that it completed before its deletion": {
			left: job().Complete().Since(5).DeletingAt(6),
			want: completed,
		},
		"a list shows that it completed after its deletion": {
			left: job().Complete().Since(7).DeletingAt(6),
			want: unknown,
		},
		"a list shows both in one second": {
			events: []jobEvent{{nil, job().Complete().Since(5).DeletingAt(5)}},
			left:   job().Complete().Since(5).DeletingAt(5),
			want:   deleted,
		},
		"nothing was seen":                 {want: unknown},
		"another Job of that name ended":   {events: []jobEvent{{another, nil}}, want: unknown},
		"a list finds another of its name": {events: []jobEvent{{job().Complete().Since(5), another}}, want: completed},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Obj())
			if tc.left != nil {
				c = newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Obj(), tc.left.Obj(), withoutPods())
			}
			c.see(tc.events...)
			if diff := cmp.Diff(splitOps(oneSpace(tc.want)), splitOps(c.advance(nil).String())); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// withoutPods is a Pod of another Job. It keeps newBench from adding Pods.
func withoutPods() client.Object {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: wrappers.Namespace, Name: "another"}}
}

// P13: the status may name no Job yet when the Job is gone. The controller creates no second Job for the generation.
func TestP13OneJobForAGeneration(t *testing.T) {
	for name, given := range map[string][]client.Object{
		"with a key":    of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Obj()),
		"without a key": of(keyless("a").Obj()),
	} {
		for end, tc := range map[string]struct {
			last *wrappers.JobWrapper
			want string
		}{
			"it completed": {makeJob(all[*v1alpha1.JobRun](given)[0], 1).Complete(),
				`a: Completed, g1, finished g1, Complete=Completed, "the output is unknown: Job a-1 completed, but its Pods are gone"`},
			"it was deleted": {makeJob(all[*v1alpha1.JobRun](given)[0], 1),
				`a: Leased, g3, attempts 1`},
		} {
			t.Run(name+", "+end, func(t *testing.T) {
				c := newScene(t, given...)
				c.see(jobEvent{tc.last, nil})
				c.rest(nil)
				got := regexp.MustCompile(`(g\d+)<\d+`).ReplaceAllString(oneSpace(c.formatState()), "$1")
				if !strings.Contains(got, tc.want) {
					t.Errorf("want %s in\n%s", tc.want, got)
				}
			})
		}
	}
}

// P13: the controller looks at what it knows once more, right before it acts on a loss.
func TestP13ConfirmLoss(t *testing.T) {
	run := made("a").Leased(1, "5").Obj()
	b := newBench(makeKey("k").Leased("a", 1, "5").Obj(), run)
	a := b.decidedOn(makeKey("k").Leased("a", 1, "5").Obj(), run)
	for _, tc := range []struct {
		see  *wrappers.JobWrapper
		want string
	}{{nil, "done"}, {makeJob(run, 2).Complete(), "done"}, {makeJob(run, 1).Complete(), "stale"}} {
		if tc.see != nil {
			b.SeeJob(tc.see.Obj(), nil)
		}
		if got := outcome(a.do(t.Context(), decision.ConfirmLoss{Run: run})); got != tc.want {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
}

// P13: C1 pauses before it creates "a-1". Meanwhile "a" is deleted and applied again, and its "a-1" executes. C1's create
// finds that Job, and must not delete it.
func TestP13AJobOfALaterRunOfThatName(t *testing.T) {
	first, again := made("a").Obj(), made("a").UID("again").Token("again").Obj()
	b := newBench(makeKey("k").Leased("a", 1, "7").Obj(), again, makeJob(again, 1).Obj())
	a := b.decidedOn(makeKey("k").Leased("a", 1, "5").Obj(), first)
	err := a.do(t.Context(), decision.CreateJob{Run: first, Generation: 1, KeyVersion: "5"})
	if outcome(err) != "stale" || writesOf(b) != "" {
		t.Errorf("%s (%v), writes %q", outcome(err), err, writesOf(b))
	}
}
