// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// storyPause is the time from the end of a story that went wrong to its next beginning.
const storyPause = 500 * time.Millisecond

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
		pause(ctx, storyPause)
	}
	return errNoEffect
}

// begin triggers a run of the story. It reports whether the answer is Created.
func (a *author) begin(run *v1alpha1.JobRun) bool {
	return a.answer(run, trigger) == v1alpha1.DispositionCreated
}

// answer triggers a run of the story, and returns the answer; "" if the trigger was not accepted.
func (a *author) answer(run *v1alpha1.JobRun, v verb) v1alpha1.Disposition {
	a.count++
	asked := a.trigger(run, v)
	if asked.Outcome != accepted || asked.Admission == nil {
		return ""
	}
	return asked.Admission.Disposition
}

// end deletes a run of the story. It reports whether the answer says so.
func (a *author) end(run *v1alpha1.JobRun) bool { return a.delete(run.Name).Outcome == accepted }

// run returns a run of the story.
func (a *author) run(role, jobName string) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{}
	run.Namespace, run.Name = a.namespace, a.title+"-"+role
	run.Spec.JobName, run.Spec.ConcurrencyKey = jobName, a.title
	return run
}

// await waits until look reports true. It reports false if that cannot happen any more because the run has ended.
func (a *author) await(ctx context.Context, run *v1alpha1.JobRun, look func(context.Context) bool) bool {
	for ctx.Err() == nil {
		ended := a.hasEnded(ctx, run)
		if look(ctx) {
			return true
		}
		if ended {
			return false
		}
		pause(ctx, pollInterval)
	}
	return false
}

// hasEnded reports whether a run has an outcome or is gone.
func (a *author) hasEnded(ctx context.Context, run *v1alpha1.JobRun) bool {
	read := &v1alpha1.JobRun{}
	err := a.get(ctx, run.Name, read)
	return err == nil && read.HasOutcome() || apierrors.IsNotFound(err)
}

// get reads an object of the story by its name.
func (a *author) get(ctx context.Context, name string, object client.Object) error {
	return a.world.cluster.api.Get(ctx, types.NamespacedName{Namespace: a.namespace, Name: name}, object)
}

// isGone reports whether no object of the kind has that name.
func (a *author) isGone(ctx context.Context, name string, kind client.Object) bool {
	return apierrors.IsNotFound(a.get(ctx, name, kind))
}

// status returns the status of a run; an empty one if it cannot be read.
func (a *author) status(ctx context.Context, run *v1alpha1.JobRun) v1alpha1.JobRunStatus {
	read := &v1alpha1.JobRun{}
	if a.get(ctx, run.Name, read) != nil {
		return v1alpha1.JobRunStatus{}
	}
	return read.Status
}
