// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// ended lets the container of a Pod end with a termination message.
func ended(phase corev1.PodPhase, message string, second int) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase = phase
		end := &corev1.ContainerStateTerminated{Message: message, FinishedAt: wrappers.At(second)}
		if phase == corev1.PodFailed {
			end.ExitCode = 1
		}
		s.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Terminated: end}}}
	}
}

// finished is a run with a key whose Job has completed or failed.
type finished struct {
	bench
	run       *v1alpha1.JobRun
	job       *batchv1.Job
	liveLists int
}

func newFinished(fails bool, pods ...func(*batchv1.Job) *corev1.Pod) *finished {
	run := made("a").Leased(1, "5").Obj()
	job := makeJob(run, 1).Complete().Obj()
	job.Status.Succeeded = 1
	if fails {
		job = makeJob(run, 1).Failed("BackoffLimitExceeded", "too often").Obj()
		job.Status.Failed = 1
	}
	stored := of(makeKey("k").Leased("a", 1, "5").Obj(), run, job)
	for _, pod := range pods {
		stored = append(stored, pod(job))
	}
	if len(pods) == 0 { // Then withPods must not add one.
		stored = append(stored, podOf(makeJob(made("b").Obj(), 1).Obj(), "other", nil))
	}
	f := &finished{newBench(stored...), run, job, 0}
	f.store.ReadList = func(list client.ObjectList, o *client.ListOptions) error {
		if _, ok := list.(*corev1.PodList); ok && o.LabelSelector != nil {
			f.liveLists++
		}
		return nil
	}
	return f
}

func (f *finished) expect(t *testing.T, output string, liveLists int) {
	t.Helper()
	got := ""
	if e := observed(t, f.bench).Executions[f.run.UID]; e.Output != nil {
		got = string(e.Output.Raw)
	}
	if got != output || f.liveLists != liveLists {
		t.Errorf("output %s after %d live lists, want %s after %d", got, f.liveLists, output, liveLists)
	}
}

func TestEndFromTheCache(t *testing.T) {
	succeeded := func(job *batchv1.Job) *corev1.Pod { return podOf(job, "p", ended(corev1.PodSucceeded, "1", 1)) }
	running := func(job *batchv1.Job) *corev1.Pod { return podOf(job, "p", nil) }
	t.Run("the cache shows its Pod", func(t *testing.T) { newFinished(false, succeeded).expect(t, "1", 0) })
	t.Run("the cache lags", func(t *testing.T) {
		f := newFinished(false, running)
		f.expect(t, "", 1)
	})
	t.Run("the live list is newer", func(t *testing.T) {
		f := newFinished(false, succeeded)
		lagging := f.lag(makeKey("k").Leased("a", 1, "5").Obj(), f.run, f.job, running(f.job))
		f.bench = lagging
		f.expect(t, "1", 1)
	})
	t.Run("a Pod that failed does not show the success", func(t *testing.T) {
		newFinished(false, func(job *batchv1.Job) *corev1.Pod { return podOf(job, "p", ended(corev1.PodFailed, "1", 1)) }).expect(t, "", 1)
	})
	t.Run("a Pod of another Job", func(t *testing.T) {
		newFinished(false, func(*batchv1.Job) *corev1.Pod {
			return podOf(makeJob(made("b").Obj(), 1).Obj(), "p", ended(corev1.PodSucceeded, "1", 1))
		}).expect(t, "", 1)
	})
	t.Run("a failure", func(t *testing.T) {
		f := newFinished(true, func(job *batchv1.Job) *corev1.Pod { return podOf(job, "p", ended(corev1.PodFailed, "no luck", 1)) })
		if e := observed(t, f.bench).Executions[f.run.UID]; e.Failure == nil || e.Failure.Message != "no luck" || f.liveLists != 0 {
			t.Errorf("failure %+v after %d live lists", e.Failure, f.liveLists)
		}
	})
}

// What Pods said is remembered after their deletion, by every replica, until the outcome is stored.
func TestEndOfDeletedPods(t *testing.T) {
	pod := func(f *finished) *corev1.Pod { return podOf(f.job, "p", ended(corev1.PodSucceeded, "1", 1)) }
	for name, see := range map[string]func(*finished, toolscache.ResourceEventHandler){
		"it ended, and was deleted": func(f *finished, h toolscache.ResourceEventHandler) {
			h.OnUpdate(podOf(f.job, "p", nil), pod(f))
			h.OnDelete(pod(f))
		},
		"only its deletion was seen": func(f *finished, h toolscache.ResourceEventHandler) { h.OnDelete(pod(f)) },
		"its deletion was missed": func(f *finished, h toolscache.ResourceEventHandler) {
			h.OnDelete(toolscache.DeletedFinalStateUnknown{Obj: pod(f)})
		},
		"it had ended when it was created": func(f *finished, h toolscache.ResourceEventHandler) { h.OnAdd(pod(f), false) },
		"the leader's watch": func(f *finished, _ toolscache.ResourceEventHandler) {
			f.RequestsForChange(context.Background(), pod(f), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFinished(false)
			see(f, f.endsHandler(t.Context()))
			f.expect(t, "1", 0)
			f.endsHandler(t.Context()).OnUpdate(f.run, made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj())
			f.expect(t, "", 1)
		})
	}
	t.Run("of a run that has its outcome", func(t *testing.T) {
		b := newBench(made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj())
		job := makeJob(made("a").Obj(), 1).Obj()
		b.endsHandler(t.Context()).OnDelete(podOf(job, "p", ended(corev1.PodSucceeded, "1", 1)))
		if got := b.ended.of("token-a", job.UID); len(got) > 0 {
			t.Errorf("it remembers %d Pods", len(got))
		}
	})
	t.Run("a Pod that was deleted before it ended", func(t *testing.T) {
		f := newFinished(true)
		crashing := podOf(f.job, "p", func(s *corev1.PodStatus) {
			waits("CrashLoopBackOff", "")(s)
			s.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 3}
		})
		f.endsHandler(t.Context()).OnDelete(crashing)
		if e := observed(t, f.bench).Executions[f.run.UID]; e.Failure == nil || *e.Failure.ExitCode != 3 {
			t.Errorf("failure %+v", e.Failure)
		}
	})
	t.Run("the first of too many", func(t *testing.T) {
		f := newFinished(false)
		for i := range 20 {
			p := podOf(f.job, fmt.Sprintf("p%d", i), ended(corev1.PodSucceeded, fmt.Sprint(i), i))
			p.Annotations[batchv1.JobCompletionIndexAnnotation] = fmt.Sprint(i)
			f.endsHandler(t.Context()).OnDelete(p)
		}
		f.expect(t, "0", 0)
		if n := len(f.ended.of("token-a", f.job.UID)); n != endedPodsKept {
			t.Errorf("it remembers %d Pods", n)
		}
	})
}
