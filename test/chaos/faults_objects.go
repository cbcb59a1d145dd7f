// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const vandalPause = 300 * time.Millisecond

// deleteRunKeys deletes RunKeys by hand for a while. It spares RunKeys in the middle of a claim, for which docs/design.md
// promises less.
func deleteRunKeys(ctx context.Context, w *world, i Injection) error {
	over, cancel := context.WithTimeout(ctx, i.For)
	defer cancel()
	ctx, cancel = patience(ctx)
	defer cancel()
	random := rand.New(rand.NewPCG(w.config.Seed, i.Draw))
	deleted := 0
	for over.Err() == nil || (deleted == 0 && ctx.Err() == nil) {
		var keys v1alpha1.RunKeyList
		if err := w.cluster.api.List(ctx, &keys, client.InNamespace(w.namespace)); err == nil && len(keys.Items) > 0 {
			if w.vandalise(ctx, &keys.Items[random.IntN(len(keys.Items))]) {
				deleted++
			}
		}
		pause(ctx, vandalPause)
	}
	if deleted == 0 {
		return errNoEffect
	}
	return nil
}

// vandalise deletes a RunKey that is unchanged since it was read. If no answer arrives, the RunKey may be deleted, so it
// is recorded in w.vandalised as well.
func (w *world) vandalise(ctx context.Context, key *v1alpha1.RunKey) (deleted bool) {
	if !w.settled(ctx, key) {
		return false
	}
	err := w.cluster.api.Delete(ctx, key, client.Preconditions{UID: &key.UID, ResourceVersion: &key.ResourceVersion})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vandalised[key.UID] = true
	return err == nil
}

// settled reports whether the status of the leased run has the key's generation, so that no claim is under way.
func (w *world) settled(ctx context.Context, key *v1alpha1.RunKey) bool {
	leased := key.Spec.Leased
	if leased == nil {
		return true
	}
	run := &v1alpha1.JobRun{}
	err := w.cluster.api.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: leased.RunName}, run)
	return err == nil && run.Status.Phase == v1alpha1.PhaseLeased && run.Status.Lease.Generation == leased.Generation
}

// deleteNamespace lets a few callers work in a namespace of their own, deletes it while they call, and waits until it is
// gone. The API server is not restarted meanwhile: for a moment after its start it does not know custom resources, and
// the namespace controller would take the namespace for empty.
func deleteNamespace(ctx context.Context, w *world, _ Injection) error {
	w.dooming.Lock()
	defer w.dooming.Unlock()
	w.doomed++
	name := w.doomedName(w.doomed)
	if err := w.prepareNamespace(ctx, name); err != nil {
		return unlessOver(ctx, err)
	}
	calling, stop := context.WithCancel(ctx)
	doomed := *w.crowd
	doomed.gateways = nil
	doomed.namespace, doomed.callers, doomed.hotKeys, doomed.seed = name, 4, 2, doomed.seed+uint64(w.doomed)
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() { doomed.call(calling) })
	pause(ctx, doomedFor)
	w.apiServer.Lock()
	defer w.apiServer.Unlock()
	patient, cancel := context.WithTimeout(w.working, w.config.Patience)
	defer cancel()
	return w.persist(patient, func() error {
		err := w.cluster.api.Delete(patient, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		if err == nil {
			return fmt.Errorf("namespace %s is being deleted", name)
		}
		return client.IgnoreNotFound(err)
	})
}
