// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// confirmPatience is how long this process must have seen a note, and nothing that executes of its Job, before the note goes.
// It exceeds the 34 s in which the API server ends the create of a Job that has passed the fence.
const confirmPatience = time.Minute

// observeUnconfirmed finds out which noted Jobs cannot appear any more.
func (o *observer) observeUnconfirmed(context.Context) error {
	o.Notes = o.Reconciler.Notes == nil || o.Reconciler.Notes()
	for _, note := range runkey.Unconfirmed(o.KeySpec()) {
		executing := o.unfinished(note)
		left := confirmPatience - o.sightings.unchangedFor(noteSubject(o.req.Namespace, note), executing)
		switch {
		case executing != "": // The end of the Job is an event.
		case left > 0:
			o.RecheckIn(left)
		default:
			o.Confirmed = append(o.Confirmed, note)
		}
	}
	return nil
}

// forgetRow drops the sightings of what a RunKey does not name any more.
func (r *Reconciler) forgetRow(before, after client.Object) {
	was, isRow := before.(*v1alpha1.RunKey)
	if !isRow {
		return
	}
	var left []v1alpha1.UnconfirmedJob
	if is, exists := after.(*v1alpha1.RunKey); exists && is.UID == was.UID {
		left = is.Spec.Unconfirmed
	} else {
		r.sightings.forget(reservationSubject(was.Namespace, was.Name))
	}
	for _, note := range was.Spec.Unconfirmed {
		if !slices.Contains(left, note) {
			r.sightings.forget(noteSubject(was.Namespace, note))
		}
	}
}

// unfinished returns the UID of the unfinished Job of a note that the cache shows; empty if there is none.
func (o *observer) unfinished(note v1alpha1.UnconfirmedJob) types.UID {
	i := slices.IndexFunc(o.Jobs, func(job *batchv1.Job) bool {
		return job.Name == note.Job && executor.IdentityOf(job).Token == note.Token && !executor.IsFinished(job)
	})
	if i < 0 {
		return ""
	}
	return o.Jobs[i].UID
}
