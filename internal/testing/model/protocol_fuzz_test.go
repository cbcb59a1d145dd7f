// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// FuzzWorkerProtocol shows that the schema's CEL rules allow exactly the moves that the worker protocol in
// docs/workers.md allows, after every sequence of moves.
func FuzzWorkerProtocol(f *testing.F) {
	f.Add([]byte{moveClaim, 1, moveProgress, 1, moveComplete, 1})
	f.Add([]byte{moveClaim, 1, moveGiveBack, 2, moveRequeue, 0, moveClaim, 3, moveComplete, 1, moveComplete, 3})
	f.Add([]byte{moveClaim, 1, moveClaimForAnother, 2, moveFail, 1, moveFail, 2})
	f.Add([]byte{moveTakeHolder, 0, moveFail, 1, moveClaim, 2, moveCancel, 0, moveProgress, 2})
	f.Add([]byte{moveClaim, 1, moveCancel, 1, moveProgress, 1, moveGiveBack, 1, moveGiveBack, 2, moveTakeHolder, 0})
	// A run that waits again has no holder.
	f.Add([]byte{moveClaim, 1, moveRequeue, 0, moveUnseat, 0, moveGiveBack, 2, moveRequeue, 0, moveClaim, 3})
	f.Add([]byte{moveClaim, 1, moveExpire, 1, moveExpire, 2, moveExpire, 2, moveComplete, 2, moveFail, 2, moveExpire, 3})
	f.Add([]byte{moveUnseat, 0, moveComplete, 0, moveClaim, 1, moveGiveBack, 2, moveUnseat, 0, moveClaim, 2, moveCancel, 2})
	kind, err := customKind("batch.jobrun.dev_jobruns.yaml", &v1alpha1.JobRun{}, &v1alpha1.JobRunList{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, moves []byte) {
		run := &v1alpha1.JobRun{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "JobRun"}, Spec: v1alpha1.JobRunSpec{JobName: "job"}}
		run.Name, run.Namespace, run.ResourceVersion, run.UID = "a", "default", "1", "uid-a"
		// observedGeneration is always set, as the operator sets it: a status without any field counts as removed.
		run.Status.Phase, run.Status.ObservedGeneration = v1alpha1.PhasePending, 1
		for i := 0; i+1 < min(len(moves), 24); i += 2 {
			m := move{kind: moves[i] % moveKinds, generation: int64(moves[i+1] % 6)}
			next, allowed := m.make(run)
			errs := kind.status.ValidateUpdate(context.Background(), asStored(t, kind, next), asStored(t, kind, run))
			if allowed != (len(errs) == 0) {
				t.Fatalf("move %+v, status %+v: allowed by the protocol: %t, errors of the schema: %v", m, run.Status, allowed, errs)
			}
			if allowed {
				run = next
			}
		}
	})
}

// move is one status write by a worker or the operator, for a generation.
type move struct {
	kind       byte
	generation int64
}

const (
	moveClaim byte = iota
	moveClaimForAnother
	moveProgress
	moveComplete
	moveFail
	moveGiveBack
	moveExpire
	moveRequeue
	moveUnseat
	moveTakeHolder
	moveCancel
	moveKinds
)

// make returns the run after the move, and reports whether the protocol allows the move.
func (m move) make(run *v1alpha1.JobRun) (next *v1alpha1.JobRun, allowed bool) {
	next = run.DeepCopy()
	status, phase, lease := &next.Status, run.Status.Phase, run.Status.Lease
	final := phase == v1alpha1.PhaseCompleted || phase == v1alpha1.PhaseFailed || phase == v1alpha1.PhaseCancelled
	held, nobody := phase == v1alpha1.PhaseLeased, lease == nil || lease.HolderIdentity == ""
	switch m.kind {
	case moveClaim, moveClaimForAnother:
		status.Phase = v1alpha1.PhaseLeased
		status.Lease = &v1alpha1.RunLease{HolderIdentity: fmt.Sprintf("worker-%d", m.kind), Generation: m.generation}
		again := held && *lease == *status.Lease
		return next, m.generation >= 1 && !final && (again || m.generation > last(lease))
	case moveProgress:
		status.Progress = &v1alpha1.Progress{Generation: m.generation, Message: "on its way"}
		again := run.Status.Progress != nil && *run.Status.Progress == *status.Progress
		return next, m.generation >= 1 && (again || !final && m.generation == last(lease))
	case moveComplete, moveFail, moveCancel:
		return m.end(next)
	case moveGiveBack:
		status.Lease = &v1alpha1.RunLease{Generation: m.generation}
		higher := m.generation > last(lease) || m.generation == last(lease) && nobody
		again := lease != nil && *lease == *status.Lease
		return next, m.generation >= 1 && higher && (again || !final)
	case moveExpire: // The fence and the requeue in one write, as for a run without a key.
		status.Phase, status.Lease = v1alpha1.PhasePending, &v1alpha1.RunLease{Generation: m.generation}
		higher := m.generation > last(lease) || m.generation == last(lease) && nobody
		return next, m.generation >= 1 && higher && !final
	case moveRequeue: // Follows a fence or a moveGiveBack.
		status.Phase = v1alpha1.PhasePending
		return next, !final && (!held || nobody)
	case moveUnseat: // The key names another run as leased or pending.
		status.Phase = ""
		return next, !final && (!held || nobody)
	default: // moveTakeHolder, which does not change the generation
		if lease == nil {
			return next, true
		}
		status.Lease.HolderIdentity = ""
		return next, nobody
	}
}

// end ends the run for the move's generation. Only a run that is leased can complete.
func (m move) end(next *v1alpha1.JobRun) (*v1alpha1.JobRun, bool) {
	was := next.Status.Phase
	final := map[byte]v1alpha1.Phase{
		moveComplete: v1alpha1.PhaseCompleted, moveFail: v1alpha1.PhaseFailed, moveCancel: v1alpha1.PhaseCancelled,
	}[m.kind]
	next.Status.Phase, next.Status.FinishedGeneration = final, m.generation
	waited := was == v1alpha1.PhasePending || was == ""
	from := was == v1alpha1.PhaseLeased || waited && final != v1alpha1.PhaseCompleted || was == final
	return next, from && m.generation == last(next.Status.Lease)
}

func last(lease *v1alpha1.RunLease) int64 {
	if lease == nil {
		return 0
	}
	return lease.Generation
}

// asStored returns an object in the registry's form.
func asStored(t *testing.T, kind *kind, object client.Object) runtime.Object {
	t.Helper()
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := kind.decode(body)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}
