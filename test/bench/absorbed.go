// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const stormTriggers = 5000

// measureStorm counts the writes for triggers that one waiting run absorbs, until the run has completed and each receipt
// has its outcome or was deleted.
func measureStorm(ctx context.Context, w *world, o Options) ([]Result, error) {
	triggers := o.size(stormTriggers)
	var all, onRun []float64
	for range o.Rounds {
		written, err := w.absorb(ctx, triggers)
		if err != nil {
			return nil, err
		}
		all = append(all, float64(written.receipts.Total()+written.run.Total())/float64(triggers))
		onRun = append(onRun, float64(written.run.Total())/float64(triggers))
	}
	return []Result{
		alone(Result{
			Row: "storm", What: fmt.Sprintf("etcd writes per absorbed trigger, %d on one key", triggers), Unit: "writes",
			Goal: Goal{Kind: Count, AtMost: 3.1, Promised: true},
		}, all),
		alone(Result{
			Row: "storm-run", What: "... those of the run that absorbs them", Unit: "writes",
			Goal: Goal{Kind: Count, AtMost: 1.1, Promised: true},
		}, onRun),
	}, nil
}

type absorbedWrites struct {
	receipts controlplane.Writes
	// run has the writes of the waiting run, from its create to its outcome, and of the key.
	run controlplane.Writes
}

func (w *world) absorb(ctx context.Context, triggers int) (written absorbedWrites, err error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return written, err
	}
	counter, err := w.cp.NewWriteCounter(ctx)
	if err != nil {
		return written, err
	}
	defer counter.Close()
	if err := w.occupy(ctx, ns); err != nil {
		return written, err
	}
	if _, err := (storm{
		api: w.jobruns, callers: admissionCallers, creates: triggers, expect: answered(v1alpha1.DispositionCoalesced),
		trigger: func(i int) *v1alpha1.JobRun {
			return skipping(keyed(jobRun(ns, fmt.Sprintf("receipt-%d", i)), hotKey))
		},
	}).rate(ctx); err != nil {
		return written, err
	}
	if err := w.letGo(ctx, ns, triggers); err != nil {
		return written, err
	}
	if written.receipts, err = counter.Under(ctx, "batch.jobrun.dev/jobruns/"+ns+"/receipt-"); err != nil {
		return written, err
	}
	if written.run, err = counter.Under(ctx, "batch.jobrun.dev/jobruns/"+ns+"/waiting"); err != nil {
		return written, err
	}
	key, err := counter.Under(ctx, "batch.jobrun.dev/runkeys/"+ns+"/")
	if err != nil {
		return written, err
	}
	written.run = written.run.Plus(key)
	return written, w.wipe(ctx, ns)
}

// letGo lets the run that executes complete, then the run that waits. It returns when nothing is written any more.
func (w *world) letGo(ctx context.Context, ns string, triggers int) error {
	for _, name := range []string{"leased", "waiting"} {
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name + "-1"}}
		if err := await(ctx, "Job "+job.Name, func() (bool, error) {
			err := w.admin.Get(ctx, client.ObjectKeyFromObject(job), job)
			return err == nil, client.IgnoreNotFound(err)
		}); err != nil {
			return err
		}
		resumed := job.DeepCopy()
		resumed.Spec.Suspend = ptr.To(false)
		if err := w.admin.Patch(ctx, resumed, client.MergeFrom(job)); err != nil {
			return err
		}
	}
	waiting := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "waiting"}}
	if err := w.inPhase(ctx, waiting, v1alpha1.PhaseCompleted); err != nil {
		return err
	}
	if err := w.quiet(ctx); err != nil {
		return err
	}
	if err := w.jobruns.Get(ctx, client.ObjectKeyFromObject(waiting), waiting); err != nil {
		return err
	}
	if counted := ptr.Deref(waiting.Status.Coalesced, v1alpha1.CoalescedTriggers{}).Count; counted != int64(triggers) {
		return fmt.Errorf("run %s counted %d triggers of %d", waiting.Name, counted, triggers)
	}
	return nil
}
