// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"net/http"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// jobCheck checks I4 and I8 for Jobs and Pods, whatever fails meanwhile. It has the state after the writes so far.
type jobCheck struct {
	*Report
	h    *records
	rows map[string]timeline[*v1alpha1.RunKeySpec]
	runs map[types.UID]timeline[*v1alpha1.JobRun]

	unfinished map[types.UID]*batchv1.Job
	running    map[types.UID]*corev1.Pod
	// named has the Jobs that the status of their run has ever named, and employers the tokens of these runs.
	named     map[types.UID]bool
	employers map[string]bool
	// excused has the tokens of runs whose RunKey was deleted by hand while it leased them, and late the Jobs that were
	// under way when their lease ended.
	excused map[string]bool
	late    map[types.UID]bool
}

// checkJobs checks that every Job was leased when it was created, that a key has one unfinished Job at a time, and that
// nothing of a run executes when its key is released.
func (r *Report) checkJobs(h *records, writes []write, rows map[string]timeline[*v1alpha1.RunKeySpec]) {
	j := &jobCheck{
		Report: r, h: h, rows: rows, runs: timelinesOfRuns(writes),
		unfinished: map[types.UID]*batchv1.Job{}, running: map[types.UID]*corev1.Pod{},
		named: map[types.UID]bool{}, employers: map[string]bool{}, excused: map[string]bool{}, late: map[types.UID]bool{},
	}
	for _, w := range writes {
		switch object := w.Object().(type) {
		case *v1alpha1.JobRun:
			if ref := object.Status.JobRef; ref != nil {
				j.named[ref.UID], j.employers[runkey.IdentityOf(object).Token] = true, true
			}
		case *v1alpha1.RunKey:
			j.observeKey(w, object)
		case *batchv1.Job:
			j.observeJob(w, object)
		case *corev1.Pod:
			j.observePod(w, object)
		}
	}
}

func timelinesOfRuns(writes []write) map[types.UID]timeline[*v1alpha1.JobRun] {
	runs := map[types.UID]timeline[*v1alpha1.JobRun]{}
	for _, w := range writes {
		if run, ok := w.Object().(*v1alpha1.JobRun); ok {
			now, _ := w.New.(*v1alpha1.JobRun)
			runs[run.UID] = append(runs[run.UID], state[*v1alpha1.JobRun]{w.Revision, now})
		}
	}
	return runs
}

func (j *jobCheck) observeJob(w write, job *batchv1.Job) {
	if w.New == nil || executor.IsFinished(job) {
		delete(j.unfinished, job.UID)
		return
	}
	if w.Old == nil {
		j.put("I4", 1)
		j.checkCreated(w.Revision, job)
		j.checkAlone(job)
	}
	j.unfinished[job.UID] = job
}

func (j *jobCheck) observePod(w write, pod *corev1.Pod) {
	if w.New == nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		delete(j.running, pod.UID)
	} else {
		j.running[pod.UID] = pod
	}
}

// checkCreated checks that the run of a new Job had its lease at some instant between the request of a manager and the
// creation. A request that is sent after the end of the lease must be refused, however late it is.
func (j *jobCheck) checkCreated(revision uint64, job *batchv1.Job) {
	leased := j.leaseOf(job)
	asked := false
	for i := range j.h.creates {
		c := &j.h.creates[i]
		if !c.mayHaveStored(job) || c.Code != 0 && j.h.pulse.before(c.Answered) < revision {
			continue
		}
		asked = true
		if leased(j.h.pulse.after(c.Sent), revision) {
			j.noteLate(revision, job, leased)
			return
		}
	}
	if !asked {
		j.violate("I4", "no manager asked for Job %s, stored at %d", job.Name, revision)
		return
	}
	j.violate("I4", "Job %s was stored at %d, but its run had lost the lease, generation %s, before the create was sent",
		job.Name, revision, generationOf(job))
}

// noteLate notes that a Job was under way when its lease ended.
func (j *jobCheck) noteLate(revision uint64, job *batchv1.Job, leased func(from, to uint64) bool) {
	if !leased(revision, revision) {
		j.late[job.UID] = true
		j.Numbers["Jobs under way when their lease ended"]++
	}
}

// mayHaveStored reports whether a create stored a Job, or may have.
func (c *create) mayHaveStored(job *batchv1.Job) bool {
	refused := c.Code >= http.StatusBadRequest && c.Code < http.StatusInternalServerError
	return !refused && c.Job == job.Name && c.Token == tokenOf(job) && c.Generation == generationOf(job)
}

func tokenOf(job metav1.Object) string { return job.GetAnnotations()[v1alpha1.AnnotationToken] }
func generationOf(job metav1.Object) string {
	return job.GetAnnotations()[v1alpha1.AnnotationGeneration]
}

// leaseOf returns a function that reports whether the run of a Job had the lease of the Job at some instant between two
// revisions.
func (j *jobCheck) leaseOf(job *batchv1.Job) func(from, to uint64) bool {
	if key := job.Labels[v1alpha1.LabelKey]; key != "" {
		return func(from, to uint64) bool {
			return j.rows[key].ever(from, to, func(s *v1alpha1.RunKeySpec) bool {
				return runkey.Leased(s).Token == tokenOf(job) && strconv.FormatInt(s.Leased.Generation, 10) == generationOf(job)
			})
		}
	}
	owner := metav1.GetControllerOf(job)
	return func(from, to uint64) bool {
		return owner != nil && j.runs[owner.UID].ever(from, to, func(run *v1alpha1.JobRun) bool {
			return run != nil && !run.HasEnded() && strconv.FormatInt(nextGeneration(run), 10) == generationOf(job)
		})
	}
}

// nextGeneration returns the generation of the Job that a run without a key has or gets.
func nextGeneration(run *v1alpha1.JobRun) int64 {
	if run.Status.Phase == v1alpha1.PhaseLeased {
		return run.LeaseGeneration()
	}
	return run.LeaseGeneration() + 1
}

// checkAlone checks that no other Job of the key is unfinished when a Job is created. A Job that was under way when its
// lease ended may be stored later. A RunKey that was deleted by hand does not keep the next run away.
func (j *jobCheck) checkAlone(created *batchv1.Job) {
	key := created.Labels[v1alpha1.LabelKey]
	if key == "" || j.isExcused(created) {
		return
	}
	for _, job := range j.unfinished {
		if job.Labels[v1alpha1.LabelKey] == key && !j.isExcused(job) {
			j.violate("I4", "Jobs %s and %s of one key are unfinished at the same time", job.Name, created.Name)
		}
	}
}

func (j *jobCheck) isExcused(job *batchv1.Job) bool {
	return j.late[job.UID] || j.excused[tokenOf(job)]
}

// observeKey checks I8 when a run loses the lease of its key. The check is about the Jobs that the status of the run has
// named: the controller that releases the key has seen that status, and so the Job. A Job that another controller creates
// at the same moment is a matter of I4.
func (j *jobCheck) observeKey(w write, key *v1alpha1.RunKey) {
	var before, after *v1alpha1.RunKeySpec
	if old, ok := w.Old.(*v1alpha1.RunKey); ok {
		before = &old.Spec
	}
	if w.New != nil {
		after = &key.Spec
	}
	released := runkey.Leased(before)
	if released == (runkey.Identity{}) || released == runkey.Leased(after) {
		return
	}
	if w.New == nil && j.h.vandalised[key.UID] {
		j.excused[released.Token] = true
		return
	}
	if j.employers[released.Token] {
		j.put("I8", 1)
	}
	for uid, job := range j.unfinished {
		if tokenOf(job) == released.Token && j.named[uid] {
			j.violate("I8", "%s was released at %d while its Job %s is unfinished", released.RunName, w.Revision, job.Name)
		}
	}
	for _, pod := range j.running {
		if owner := metav1.GetControllerOf(pod); tokenOf(pod) == released.Token && owner != nil && j.named[owner.UID] {
			j.violate("I8", "%s was released at %d while its Pod %s runs", released.RunName, w.Revision, pod.Name)
		}
	}
}
