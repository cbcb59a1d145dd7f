// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// archive is a number of stored runs that have ended. They are copies of one executed run, written to etcd as the API
// server writes them.
type archive struct {
	w      *world
	ns     string
	sample *v1alpha1.JobRun
	stored int
}

// newArchive executes a run as the sample of an empty archive.
func (w *world) newArchive(ctx context.Context) (*archive, error) {
	if err := w.enter(ctx, working); err != nil {
		return nil, err
	}
	ns, err := w.namespace(ctx)
	if err != nil {
		return nil, err
	}
	run := keyed(jobRun(ns, "sample"), "sample")
	run.Spec.TTLSecondsAfterFinished = new(int32(24 * 60 * 60))
	if err := w.jobruns.Create(ctx, run); err != nil {
		return nil, err
	}
	if err := w.inPhase(ctx, run, v1alpha1.PhaseCompleted); err != nil {
		return nil, err
	}
	run.ResourceVersion = "" // etcd sets it.
	run.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobRun"))
	return &archive{w: w, ns: ns, sample: run}, w.admin.Delete(ctx, run.DeepCopy(), client.PropagationPolicy("Background"))
}

// keep changes the number of stored runs, and waits until the manager and the control plane have settled.
func (a *archive) keep(ctx context.Context, runs int) error {
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(etcdClients)
	for i := min(a.stored, runs); i < max(a.stored, runs); i++ {
		group.Go(func() error {
			key := registry + "batch.jobrun.dev/jobruns/" + a.ns + "/" + archived(i)
			if i >= runs {
				_, err := a.w.etcd.Delete(limited, key)
				return err
			}
			return a.put(limited, key, a.copy(i))
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("store %d runs: %w", runs, err)
	}
	a.stored = runs
	if err := a.w.settled(ctx); err != nil {
		return err
	}
	return a.w.rested(ctx)
}

func archived(i int) string { return fmt.Sprintf("stored-%d", i) }

func (a *archive) put(ctx context.Context, key string, run *v1alpha1.JobRun) error {
	text, err := json.Marshal(run)
	if err != nil {
		return err
	}
	_, err = a.w.etcd.Put(ctx, key, string(text))
	return err
}

// copy returns the sample under another name and with another key.
func (a *archive) copy(i int) *v1alpha1.JobRun {
	run := a.sample.DeepCopy()
	run.Name, run.UID = archived(i), uuid.NewUUID()
	run.Spec.ConcurrencyKey = run.Name
	run.Labels[v1alpha1.LabelKey] = v1alpha1.ConcurrencyKeyName(run.Spec.JobName, run.Name)
	token := string(uuid.NewUUID())
	run.Spec.Admission.RunName, run.Spec.Admission.RunToken, run.Spec.Admission.Token = run.Name, token, token
	run.Status.RunRef.Name, run.Status.RunRef.UID = run.Name, run.UID
	run.Status.JobRef.Name, run.Status.JobRef.UID = run.Name+"-1", uuid.NewUUID()
	run.Status.Lease.HolderIdentity = "job/" + run.Status.JobRef.Name
	return run
}
