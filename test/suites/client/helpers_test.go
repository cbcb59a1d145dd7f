// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// job returns a spec with a key that a Job executes.
func job(key string) v1alpha1.JobRunSpec {
	spec := worker()
	spec.ConcurrencyKey = key
	spec.Template = &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "main", Image: "busybox"}},
	}}}}
	return spec
}

// skipping returns the spec with coalesce: Skip.
func skipping(spec v1alpha1.JobRunSpec) v1alpha1.JobRunSpec {
	spec.Coalesce = v1alpha1.CoalesceSkip
	return spec
}

// worker returns a spec without a key that an external worker executes.
func worker() v1alpha1.JobRunSpec { return v1alpha1.JobRunSpec{JobName: "sync"} }

func trigger(spec v1alpha1.JobRunSpec, opts ...jobrun.TriggerOption) jobrun.TriggerResult {
	GinkgoHelper()
	result, err := runs.Trigger(ctx, spec, opts...)
	Expect(err).NotTo(HaveOccurred())
	return result
}

func get(name string) func() (*v1alpha1.JobRun, error) {
	return func() (*v1alpha1.JobRun, error) { return runs.Get(ctx, name) }
}

// busy occupies a key: one run executes and one waits.
func busy(key string) (executing, pending string) {
	GinkgoHelper()
	executing = trigger(job(key), jobrun.WithName("executing")).JobRun.Name
	leased(executing)
	pending = trigger(job(key), jobrun.WithName("pending")).JobRun.Name
	Eventually(get(pending)).Should(HaveField("Status.Phase", v1alpha1.PhasePending))
	return executing, pending
}

// leased waits for the run's Job and returns it.
func leased(name string) *batchv1.Job {
	GinkgoHelper()
	var run *v1alpha1.JobRun
	Eventually(func() (_ *v1alpha1.JobRun, err error) {
		run = &v1alpha1.JobRun{}
		return run, k8s.Get(ctx, types.NamespacedName{Namespace: ns, Name: name}, run)
	}).Should(HaveField("Status.JobRef", Not(BeNil())))
	found := &batchv1.Job{}
	Expect(k8s.Get(ctx, types.NamespacedName{Namespace: ns, Name: run.Status.JobRef.Name}, found)).To(Succeed())
	return found
}

// complete ends the run's Job as the Job controller would.
func complete(name, message string) {
	GinkgoHelper()
	j := leased(name)
	pod := &corev1.Pod{ObjectMeta: *j.Spec.Template.ObjectMeta.DeepCopy(), Spec: *j.Spec.Template.Spec.DeepCopy()}
	pod.Namespace, pod.GenerateName = ns, j.Name+"-"
	Expect(k8s.Create(ctx, pod)).To(Succeed())
	pod.Status.Phase = corev1.PodSucceeded
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{Message: message, FinishedAt: metav1.Now()},
	}}}
	Expect(k8s.Status().Update(ctx, pod)).To(Succeed())
	j.Status.CompletionTime, j.Status.Succeeded = ptr.To(metav1.Now()), 1
	endJob(j, batchv1.JobSuccessCriteriaMet, batchv1.JobComplete, "CompletionsReached", "")
}

func fail(name, message string) {
	GinkgoHelper()
	j := leased(name)
	j.Status.Failed = 1
	endJob(j, batchv1.JobFailureTarget, batchv1.JobFailed, "BackoffLimitExceeded", message)
}

func endJob(j *batchv1.Job, before, end batchv1.JobConditionType, reason, message string) {
	GinkgoHelper()
	now := metav1.Now()
	j.Status.StartTime = &now
	j.Status.Terminating, j.Status.Ready = ptr.To[int32](0), ptr.To[int32](0)
	for _, kind := range []batchv1.JobConditionType{before, end} {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastProbeTime: now, LastTransitionTime: now,
		})
	}
	Expect(k8s.Status().Update(ctx, j)).To(Succeed())
}

// work changes the status of a run as a worker does.
func work(name string, change func(*v1alpha1.JobRunStatus)) error {
	run := &v1alpha1.JobRun{}
	if err := k8s.Get(ctx, types.NamespacedName{Namespace: ns, Name: name}, run); err != nil {
		return err
	}
	change(&run.Status)
	return k8s.Status().Update(ctx, run)
}

func claim(s *v1alpha1.JobRunStatus) {
	generation := int64(1)
	if s.Lease != nil {
		generation = s.Lease.Generation + 1
	}
	now := metav1.NowMicro()
	s.Phase = v1alpha1.PhaseLeased
	s.Lease = &v1alpha1.RunLease{HolderIdentity: "me", Generation: generation, AcquireTime: &now, RenewTime: &now, DurationSeconds: 300}
}

func progress(n int64) func(*v1alpha1.JobRunStatus) {
	return func(s *v1alpha1.JobRunStatus) {
		s.Progress = &v1alpha1.Progress{Generation: s.Lease.Generation, Current: &n}
	}
}

func finish(s *v1alpha1.JobRunStatus) {
	s.Phase, s.FinishedGeneration = v1alpha1.PhaseCompleted, s.Lease.Generation
	s.Output = &apiextensionsv1.JSON{Raw: []byte(`{"rows":3}`)}
	s.CompletionTime = ptr.To(metav1.Now())
}

// waited is a wait in the background.
type waited struct {
	mu       sync.Mutex
	progress []int64
	outcome  jobrun.Outcome
	err      error
	done     chan struct{}
}

func (w *waited) note(p v1alpha1.Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.progress = append(w.progress, *p.Current)
}

func (w *waited) reported() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.progress)
}

func background(wait func(*waited) (jobrun.Outcome, error)) *waited {
	w := &waited{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.outcome, w.err = wait(w)
	}()
	return w
}

func startWait(name string) *waited {
	return background(func(w *waited) (jobrun.Outcome, error) { return runs.Wait(ctx, name, jobrun.OnProgress(w.note)) })
}

func (w *waited) result() (jobrun.Outcome, error) {
	GinkgoHelper()
	Eventually(w.done).Should(BeClosed())
	return w.outcome, w.err
}

// log gathers the events of a Watch.
type log struct {
	mu     sync.Mutex
	events []jobrun.Event
	err    error
}

func startWatch(s jobrun.Selector) *log {
	GinkgoHelper()
	watched, cancel := context.WithCancel(ctx)
	events, err := runs.Watch(watched, s)
	Expect(err).NotTo(HaveOccurred())
	l := &log{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e, err := range events {
			l.mu.Lock()
			if err != nil {
				l.err = err
			} else {
				l.events = append(l.events, e)
			}
			l.mu.Unlock()
		}
	}()
	DeferCleanup(func() {
		cancel()
		Eventually(done).Should(BeClosed())
		Expect(l.err).To(MatchError(context.Canceled))
	})
	return l
}

// of returns the events of a run in short form.
func (l *log) of(name string) func() []string {
	return func() []string {
		l.mu.Lock()
		defer l.mu.Unlock()
		var found []string
		for _, e := range l.events {
			if e.Run.Name != name {
				continue
			}
			text := strings.TrimPrefix(string(e.Type), "run:")
			if e.Skipped != nil {
				text += " " + e.Skipped.Name
			}
			if e.Count > 1 {
				text += fmt.Sprintf(" x%d", e.Count)
			}
			found = append(found, text)
		}
		return found
	}
}
