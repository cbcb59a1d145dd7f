// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	w "github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// jobRun starts the JobRun of a trigger that a Job executes.
func jobRun(name string) *w.JobRunWrapper { return run(name).Template().Created() }

func job(name string) *w.JobWrapper { return w.MakeJob(jobRun(name).Obj(), 1) }

// lease lets the key lease a run.
func (s *script) lease(name string) {
	s.store(key().Pending(name).Obj(), jobRun(name).Obj())
	s.store(key().Leased(name, 1, fmt.Sprint(s.revision-1)).Obj())
}

// execute lets the key lease a run, and stores its Job and its status.
func (s *script) execute(name string) {
	s.lease(name)
	s.store(job(name).Obj(), s.executing(name).Obj())
}

func (s *script) executing(name string) *w.JobRunWrapper {
	return jobRun(name).Leased(1, s.stored[nameOf(key().Obj())].(*v1alpha1.RunKey).Spec.Leased.FromVersion)
}

// cancel ends a run that executes, and releases its key.
func (s *script) cancel(name string) {
	s.store(endedRun(name, v1alpha1.PhaseCancelled))
	s.remove(key().Obj())
}

// endedRun returns a run that did not complete, as kstatus reads it.
func endedRun(name string, phase v1alpha1.Phase) *v1alpha1.JobRun {
	run := jobRun(name).Ended(phase).Reported().Obj()
	stalled := run.Status.Conditions[0]
	stalled.Type = v1alpha1.ConditionStalled
	run.Status.Conditions = append(run.Status.Conditions, stalled)
	return run
}

// podOf returns a Pod of a Job that runs.
func podOf(job *batchv1.Job) *corev1.Pod {
	owner := []metav1.OwnerReference{{Kind: "Job", Name: job.Name, UID: job.UID, Controller: new(true)}}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.Namespace, Name: job.Name + "-x", Annotations: job.Annotations, Labels: job.Labels, OwnerReferences: owner,
	}}
}

// TestJobs shows what the report says of Jobs while several managers may act at once. The keys of the table are the promise,
// or "good" for a history that keeps all promises, and what happens.
func TestJobs(t *testing.T) {
	for name, tell := range map[string]func(*script){
		"good: two Jobs of a key, one after the other": func(s *script) {
			for _, name := range []string{"a", "b"} {
				s.execute(name)
				s.store(job(name).Complete().Obj())
				s.cancel(name)
			}
		},
		"good: a Job is stored after its lease, but was sent before": func(s *script) {
			s.lease("a")
			s.send(job("a").Obj())
			s.cancel("a")
			s.lease("b")
			s.put(job("a").Obj())
			s.store(job("b").Obj())
			s.remove(job("a").Obj())
			s.store(s.executing("b").Obj(), job("b").Complete().Obj())
			s.cancel("b")
		},
		"good: a RunKey was deleted by hand while it leased a run": func(s *script) {
			s.execute("a")
			s.vandalised["uid-key"] = true
			s.remove(key().Obj())
			s.lease("b")
			s.store(job("b").Obj(), s.executing("b").Obj())
			s.remove(job("a").Obj())
			s.store(endedRun("a", v1alpha1.PhaseFailed), job("b").Complete().Obj())
			s.cancel("b")
		},
		"good: a RunKey is left only for its notes": func(s *script) {
			s.execute("a")
			s.store(job("a").Complete().Obj(), endedRun("a", v1alpha1.PhaseCancelled))
			noted := key().Obj()
			noted.Spec.Unconfirmed = []v1alpha1.UnconfirmedJob{{Job: "a-1", Token: w.TokenOf("a")}}
			s.store(noted)
		},
		"rules: a RunKey is left without a note": func(s *script) {
			s.execute("a")
			s.store(job("a").Complete().Obj(), endedRun("a", v1alpha1.PhaseCancelled), key().Obj())
		},
		"I4: a Job is sent after its lease": func(s *script) {
			s.lease("a")
			s.cancel("a")
			s.store(job("a").Obj())
		},
		"I4: a Job is sent for another generation": func(s *script) {
			s.lease("a")
			s.store(w.MakeJob(jobRun("a").Obj(), 2).Obj())
		},
		"I4: a Job is sent after the end of its run, which has no key": func(s *script) {
			alone := func() *w.JobRunWrapper { return w.MakeJobRun("a").Template().Created() }
			s.store(alone().Obj(), alone().Ended(v1alpha1.PhaseCancelled).Obj())
			s.store(w.MakeJob(alone().Obj(), 1).Obj())
		},
		"I4: a Job that nobody sent": func(s *script) {
			s.lease("a")
			s.put(job("a").Obj())
		},
		"I4: a create that was answered before stores no Job": func(s *script) {
			s.lease("a")
			s.send(job("a").Obj())
			c := &s.creates[0]
			c.Answered, c.Code = c.Sent, 201
			s.next()
			s.put(job("a").Obj())
		},
		"I4: two Jobs of a key at one time": func(s *script) {
			s.execute("a")
			s.remove(key().Obj())
			s.lease("b")
			s.store(job("b").Obj())
		},
		"I8: a key is released while the Job of its run is unfinished": func(s *script) {
			s.execute("a")
			s.cancel("a")
		},
		"I8: a key is released while a Pod of its run runs": func(s *script) {
			s.execute("a")
			s.store(podOf(job("a").Obj()))
			s.remove(job("a").Obj())
			s.cancel("a")
		},
	} {
		t.Run(name, func(t *testing.T) {
			promise, _, _ := strings.Cut(name, ":")
			s := newScript()
			tell(s)
			broken := s.check(false).Broken()
			if promise == "good" && len(broken) > 0 || promise != "good" && !slices.Contains(broken, promise) {
				t.Errorf("broken: %v", broken)
			}
		})
	}
}
