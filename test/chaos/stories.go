// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// storyPatience bounds each wait of a story.
const storyPatience = 30 * time.Second

// author is the caller of a story: a few triggers with a key of their own, which lead to what the callers' own triggers
// lead to by chance only.
type author struct {
	*caller
	world *world
	title string
}

// tell tells a story again and again until it came out as planned. It gives up only long after the end of the faults.
func (w *world) tell(ctx context.Context, i Injection, story func(context.Context, *author) bool) error {
	ctx, cancel := patience(ctx)
	defer cancel()
	for n := 0; ctx.Err() == nil; n++ {
		a := &author{w.crowd.newCaller(callers), w, fmt.Sprintf("%s-%d-%d", i.Fault, i.At.Milliseconds(), n)}
		if story(ctx, a) {
			return nil
		}
		pause(ctx, pollInterval)
	}
	return errNoEffect
}

// begin triggers a run of the story's key. It reports whether the answer is Created.
func (a *author) begin(run *v1alpha1.JobRun) bool {
	a.count++
	asked := a.trigger(run, trigger)
	return asked.Outcome == accepted && asked.Admission.Disposition == v1alpha1.DispositionCreated
}

// run returns a run of the story.
func (a *author) run(role, jobName string) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{}
	run.Namespace, run.Name = a.namespace, a.title+"-"+role
	run.Spec.JobName, run.Spec.ConcurrencyKey = jobName, a.title
	return run
}

// await waits until look reports true. It reports whether that happened in time.
func (a *author) await(ctx context.Context, look func(context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, storyPatience)
	defer cancel()
	for ctx.Err() == nil {
		if look(ctx) {
			return true
		}
		pause(ctx, pollInterval)
	}
	return false
}

// read reads an object of the story by its name. It returns false if that failed.
func (a *author) read(ctx context.Context, name string, object client.Object) bool {
	return a.world.cluster.api.Get(ctx, types.NamespacedName{Namespace: a.namespace, Name: name}, object) == nil
}

// status returns the status of a run; an empty one if it cannot be read.
func (a *author) status(ctx context.Context, run *v1alpha1.JobRun) v1alpha1.JobRunStatus {
	read := &v1alpha1.JobRun{}
	a.read(ctx, run.Name, read)
	return read.Status
}

// isLeased reports whether a run reads Leased, and whether its Job exists.
func (a *author) hasJob(ctx context.Context, run *v1alpha1.JobRun) bool {
	status := a.status(ctx, run)
	return status.Phase == v1alpha1.PhaseLeased && status.JobRef != nil && a.read(ctx, status.JobRef.Name, &batchv1.Job{})
}
