// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// witness is a client of one controller process. It knows which Jobs the process saw complete before their deletion, and
// panics if the process then acts as if it did not know. A witness knows nothing of what an earlier process saw.
type witness struct {
	client.Client
	*system
	completed map[execution]bool
}

// execution is a run under one generation.
type execution struct {
	runkey.Identity
	generation int64
}

func (s *system) newWitness(c client.Client) *witness {
	return &witness{Client: c, system: s, completed: map[execution]bool{}}
}

// see records a Job that the cache of the process shows.
func (w *witness) see(job *batchv1.Job) {
	if end := executor.ResultOf(job); end != nil && end.Type == batchv1.JobComplete && job.DeletionTimestamp == nil {
		w.completed[execution{executor.IdentityOf(job), executor.GenerationOf(job)}] = true
	}
}

// Create implements client.Writer.
func (w *witness) Create(ctx context.Context, object client.Object, opts ...client.CreateOption) error {
	job, isJob := object.(*batchv1.Job)
	if !isJob {
		return w.Client.Create(ctx, object, opts...)
	}
	if owner := metav1.GetControllerOf(job); owner == nil || w.judge.Stored(owner.UID) == nil {
		return w.Client.Create(ctx, object, opts...) // The run is gone, and with it what the process knew. The fence refuses the Job.
	}
	id := executor.IdentityOf(job)
	if w.completed[execution{id, executor.GenerationOf(job)}] {
		panic(fmt.Sprintf("P13: Job %s is created again, though this process saw it complete", job.Name))
	}
	if w.scenario.Controllers == 1 && w.judge.HasNamedJob(id.Token) {
		panic(fmt.Sprintf("P13: Job %s is created, though onJobLost is Fail and the run had a Job", job.Name))
	}
	return w.Client.Create(ctx, object, opts...)
}

// Status implements client.StatusClient.
func (w *witness) Status() client.SubResourceWriter { return witnessedStatus{w.Client.Status(), w} }

type witnessedStatus struct {
	client.SubResourceWriter
	w *witness
}

// Update implements client.SubResourceWriter.
func (s witnessedStatus) Update(ctx context.Context, object client.Object, opts ...client.SubResourceUpdateOption) error {
	if run, isRun := object.(*v1alpha1.JobRun); isRun && run.RunsAsJob() {
		s.w.judgeLoss(run)
	}
	return s.SubResourceWriter.Update(ctx, object, opts...)
}

// judgeLoss checks a new status of a run whose lease the process ends.
func (w *witness) judgeLoss(next *v1alpha1.JobRun) {
	stored := w.judge.Stored(next.UID)
	if stored == nil || stored.ResourceVersion != next.ResourceVersion || stored.Status.Phase != v1alpha1.PhaseLeased ||
		!w.completed[execution{runkey.IdentityOf(next), stored.LeaseGeneration()}] {
		return
	}
	failed := meta.FindStatusCondition(next.Status.Conditions, v1alpha1.ConditionFailed)
	isLost := failed != nil && (failed.Reason == "JobLost" || failed.Reason == "LeaseExpired")
	if isLost || next.LeaseGeneration() > stored.LeaseGeneration() {
		panic(fmt.Sprintf("P13: the lease of %s ends as lost, though this process saw its Job complete", next.Name))
	}
}
