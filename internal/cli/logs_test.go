// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func withTemplate(r *v1alpha1.JobRun) { r.Spec.Template = &batchv1.JobTemplateSpec{} }

// aPod returns a Pod of a run. Its container main is in the state.
func aPod(name, run string, age time.Duration, state corev1.ContainerState) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID("uid-" + name),
			CreationTimestamp: metav1.NewTime(synctestBegins.Add(-age)),
			Labels:            map[string]string{v1alpha1.LabelRun: run},
			Annotations:       map[string]string{v1alpha1.AnnotationToken: "t-" + run, v1alpha1.AnnotationGeneration: "1"},
		},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}, {Name: "side"}}, NodeName: "node"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "main", State: state}}},
	}
}

var (
	waits   = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
	runs    = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	hasDone = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
)

func (s *scene) setContainer(pod string, state corev1.ContainerState, restarts ...int32) {
	s.t.Helper()
	p := &corev1.Pod{}
	ctx := context.Background()
	if err := s.api.Get(ctx, types.NamespacedName{Namespace: "default", Name: pod}, p); err != nil {
		s.t.Fatal(err)
	}
	p.Status.ContainerStatuses[0].State = state
	for _, n := range restarts {
		p.Status.ContainerStatuses[0].RestartCount = n
	}
	if err := s.api.Status().Update(ctx, p); err != nil {
		s.t.Fatal(err)
	}
}

func TestLogsOfAReceipt(t *testing.T) {
	strangers := aPod("next-1-old", "next", time.Hour, hasDone)
	strangers.Annotations[v1alpha1.AnnotationToken] = "another run's of this name"
	inScene(t, func(_ *testing.T, s *scene) {
		s.logs["next-1-b"] = []io.ReadCloser{lines("retried\n")}
		s.logs["next-1-a"] = []io.ReadCloser{lines("first\n")}
		s.want(s.run("logs", "third"), 0, "first\nretried\n",
			"third: Coalesced, run next stands for it\n==> pod/next-1-a, generation 1\n==> pod/next-1-b, generation 1\n")
	},
		aRun("next", withTemplate, leased), aRun("third", withTemplate, receiptOf("next")), strangers,
		aPod("next-1-b", "next", time.Minute, runs), aPod("next-1-a", "next", 2*time.Minute, hasDone), aPod("next-1-c", "next", time.Second, waits),
	)
}

func TestThereAreNoLogs(t *testing.T) {
	for name, tc := range map[string]struct {
		run    *v1alpha1.JobRun
		stderr string
	}{
		"waits": {aRun("a", withTemplate, phase(v1alpha1.PhasePending)), "error: run a has no logs: none of its Pods has started; -f waits for one\n" +
			"Now: a: Pending\n"},
		"ended": {aRun("a", withTemplate, ending(failed)), "error: run a has no logs: it has ended, and its Pods are gone: " +
			"a finished Job is kept for its template's ttlSecondsAfterFinished, or the operator's --job-ttl\nNow: a: Failed: it broke\n"},
		"external worker": {aRun("a", leased), "~it has no template, and its worker has its logs\nNow: a: Leased by job/a-1"},
		"not decided":     {aRun("a", withTemplate, receiptOf("b"), phase("")), "~the run that stands for a is not decided yet\n-f waits for it."},
		"run is gone":     {aRun("a", withTemplate, receiptOf("b")), "~the run that stands for a is gone~JobRun a: Coalesced, run b stands for it"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) { s.want(s.run("logs", "a"), 1, "", tc.stderr) }, tc.run)
		})
	}
}

// The receipt is bound, and its run waits, starts, is retried and ends.
func TestFollowLogsFromTheReceiptToTheEnd(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		code := s.start("logs", "-f", "third")
		s.settle()
		s.update("third", func(st *v1alpha1.JobRunStatus) {
			st.Phase, st.RunRef = v1alpha1.PhaseCoalesced, &v1alpha1.ObjectReference{Name: "next", UID: "uid-next"}
		})
		s.settle()
		if err := s.api.Create(t.Context(), aPod("next-1-a", "next", 0, waits)); err != nil {
			t.Fatal(err)
		}
		s.settle()
		s.logs["next-1-a"] = []io.ReadCloser{lines("one\n")}
		s.setContainer("next-1-a", hasDone)
		s.settle()
		wantText(t, "the first log", s.stdout.String(), "one\n")
		s.logs["next-1-b"] = []io.ReadCloser{lines("two\n")}
		if err := s.api.Create(t.Context(), aPod("next-1-b", "next", -time.Second, hasDone)); err != nil {
			t.Fatal(err)
		}
		s.settle()
		s.update("next", completed)
		s.want(<-code, 0, "one\ntwo\n", "third: waiting for its key or for the operator\n"+
			"third: Coalesced, run next stands for it\nnext: Pending\n==> pod/next-1-a, generation 1\n==> pod/next-1-b, generation 1\nnext: Completed\n")
	},
		aRun("next", withTemplate, phase(v1alpha1.PhasePending)),
		aRun("third", withTemplate, receiptOf("next"), phase(""), func(r *v1alpha1.JobRun) { r.Status.RunRef = nil }),
	)
}

// broken returns a log whose connection is lost after some text.
func broken(text string) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() {
		_, _ = io.WriteString(writer, text)
		writer.CloseWithError(errors.New("connection reset"))
	}()
	return reader
}

// The plugin prints no line twice. A stream that ends without error while the
// container runs has broken off, too.
func TestFollowLogsThatBreakOff(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.logs["a-1-x"] = []io.ReadCloser{broken("one\ntw"), lines("one\ntwo\n"), lines("one"), lines("one\ntwo\nthree\n")}
		code := s.start("logs", "-f", "a")
		time.Sleep(2500 * time.Millisecond)
		s.setContainer("a-1-x", hasDone)
		time.Sleep(2 * time.Second)
		s.update("a", completed)
		s.want(<-code, 0, "one\ntwo\nthree\n", "==> pod/a-1-x, generation 1\na: Leased by job/a-1, generation 1\na: Completed\n")
	}, aRun("a", withTemplate, leased), aPod("a-1-x", "a", time.Minute, runs))
}

func TestFollowLogsOfAPodThatGoes(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		code := s.start("logs", "-f", "a")
		s.settle()
		s.update("a", cancelled)
		s.want(<-code, 0, "", "~Pod a-1-x is gone~a: Cancelled: cancelled on request")
	}, aRun("a", withTemplate, leased), aPod("a-1-x", "a", time.Minute, runs))
}

func TestFollowingLogsIsInterrupted(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		code := s.start("logs", "-f", "a")
		s.settle()
		s.interrupt()
		s.want(<-code, 130, "", "a: Pending\nerror: interrupted; run a goes on. To wait again: `kubectl jobrun logs -f a`\n")
	}, aRun("a", withTemplate, phase(v1alpha1.PhasePending)))
}

func TestFollowLogsOfWhatHasNone(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("logs", "-f", "a"), 1, "", "~it has no template")
		s.want(s.run("logs", "-f", "b"), 1, "", "~Error from server (NotFound)")
		s.forbidden.Store("pods", true)
		s.update("t", func(st *v1alpha1.JobRunStatus) { st.Phase = v1alpha1.PhaseLeased })
		s.want(s.run("logs", "-f", "t"), 1, "", "~Error from server (Forbidden)")
	}, aRun("a", leased), aRun("t", withTemplate))
}

func TestWhichContainer(t *testing.T) {
	pod := aPod("p", "a", 0, runs)
	pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: "side", State: runs})
	for annotation, want := range map[string]string{"": "main", "side": "side"} {
		pod.Annotations["kubectl.kubernetes.io/default-container"] = annotation
		if got := started(pod); got == nil || got.Name != want {
			t.Errorf("with annotation %q, the log is that of container %v", annotation, got)
		}
	}
	pod.Annotations["kubectl.kubernetes.io/default-container"] = "none"
	if started(pod) != nil {
		t.Error("a container that does not exist has started")
	}
}

// A container that is restarted in its Pod begins a new log.
func TestFollowLogsOfARestart(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.logs["a-1-x"] = []io.ReadCloser{lines("one\n"), lines("two\n")}
		code := s.start("logs", "-f", "a")
		s.settle()
		s.setContainer("a-1-x", hasDone, 1)
		s.settle()
		s.update("a", completed)
		s.want(<-code, 0, "one\ntwo\n", "~==> pod/a-1-x, generation 1\n~a: Completed\n")
	}, aRun("a", withTemplate, leased), aPod("a-1-x", "a", time.Minute, hasDone))
}

// Attempts whose Pods are gone are named, as far as Events tell of them.
func TestLogsOfAttemptsThatAreGone(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.logs["a-3-x"] = []io.ReadCloser{lines("third\n"), lines("third\n")}
		s.want(s.run("logs", "a"), 0, "third\n", "generation 1 of job/a-1 expired 5m ago: its Pods are gone, and their logs with them\n"+
			"==> pod/a-3-x, generation 3\n")
		s.forbidden.Store("events", true)
		s.want(s.run("logs", "a"), 0, "third\n", "attempts that expired, and whose Events are gone: 2\n==> pod/a-3-x, generation 3\n")
	}, aStuckRun()...)
}

// A run whose Pods have not started says why.
func TestNoLogsOfARunThatDoesNotGetOn(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("logs", "a"), 1, "", "error: run a has no logs: none of its Pods has started; -f waits for one\n"+
			"Now: a: Leased by job/a-1, generation 1: no such image\n")
	}, aRun("a", withTemplate, leased, func(r *v1alpha1.JobRun) { r.Status.Error = "no such image" }), aPod("a-1-x", "a", time.Second, waits))
}
