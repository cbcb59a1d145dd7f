// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"encoding/json"
	"net/http"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Patch implements client.Writer, for JobRuns.
func (s *Server) Patch(ctx context.Context, o client.Object, p client.Patch, _ ...client.PatchOption) error {
	return s.serve(ctx, "patch jobruns", func() error {
		old, next, err := s.patched(o, p)
		if err != nil {
			return err
		}
		next.Status = old.Status
		s.store(next)
		assign(o, next)
		return nil
	})
}

// patched returns the stored JobRun, and a copy with the patch applied.
func (s *Server) patched(o client.Object, p client.Patch) (old, next *v1alpha1.JobRun, err error) {
	stored, err := s.find(keyOf(o), "", "")
	if err != nil {
		return nil, nil, err
	}
	old, next = stored.(*v1alpha1.JobRun), &v1alpha1.JobRun{}
	after, err := apply(p, o, old)
	if err != nil {
		return nil, nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "patch", JobRuns, old.Name, err.Error(), 0, false)
	}
	if err := json.Unmarshal(after, next); err != nil {
		return nil, nil, err
	}
	_, err = s.find(keyOf(o), next.UID, next.ResourceVersion)
	return old, next, err
}

func apply(p client.Patch, o client.Object, old *v1alpha1.JobRun) ([]byte, error) {
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	patch, err := p.Data(o)
	if err != nil {
		return nil, err
	}
	if p.Type() == types.MergePatchType {
		return jsonpatch.MergePatch(before, patch)
	}
	operations, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, err
	}
	return operations.Apply(before)
}

// Status implements client.StatusClient, for JobRuns.
func (s *Server) Status() client.SubResourceWriter { return &statusWriter{server: s} }

type statusWriter struct {
	client.SubResourceWriter // nil

	server *Server
}

func (w *statusWriter) Update(ctx context.Context, o client.Object, _ ...client.SubResourceUpdateOption) error {
	return w.server.serve(ctx, "update jobruns/status", func() error {
		old, err := w.server.find(keyOf(o), o.GetUID(), o.GetResourceVersion())
		if err != nil {
			return err
		}
		return w.server.storeStatus(old.(*v1alpha1.JobRun), o.(*v1alpha1.JobRun).Status, o)
	})
}

func (w *statusWriter) Patch(ctx context.Context, o client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
	return w.server.serve(ctx, "patch jobruns/status", func() error {
		old, next, err := w.server.patched(o, p)
		if err != nil {
			return err
		}
		return w.server.storeStatus(old, next.Status, o)
	})
}

func (s *Server) storeStatus(old *v1alpha1.JobRun, status v1alpha1.JobRunStatus, answer client.Object) error {
	run := old.DeepCopy()
	status.DeepCopyInto(&run.Status)
	if s.keyIsTaken(old, run) {
		return apierrors.NewConflict(JobRuns, run.Name, nil)
	}
	if fenced(old, run) {
		return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("JobRun").GroupKind(), run.Name, nil)
	}
	if s.RefuseStatus != nil {
		if err := s.RefuseStatus(run); err != nil {
			return err
		}
	}
	s.store(run)
	if s.losesStatus {
		s.losesStatus = false
		return Reset()
	}
	assign(answer, run)
	return nil
}

// keyIsTaken reports whether the webhook would refuse a claim.
func (s *Server) keyIsTaken(old, run *v1alpha1.JobRun) bool {
	if run.Spec.ConcurrencyKey == "" || old.Status.Phase == run.Status.Phase || run.Status.Phase != v1alpha1.PhaseLeased {
		return false
	}
	for _, o := range s.objects {
		other, ok := o.(*v1alpha1.JobRun)
		if ok && other.Spec.ConcurrencyKey == run.Spec.ConcurrencyKey && other.Status.Phase == v1alpha1.PhaseLeased {
			return true
		}
	}
	return false
}

// fenced reports whether the CRD's CEL rules would refuse a status, because its writer lost the lease or the run
// has ended.
func fenced(old, run *v1alpha1.JobRun) bool {
	was, is, generation := old.Status, run.Status, run.LeaseGeneration()
	waited := was.Phase == v1alpha1.PhasePending || was.Phase == ""
	if was.Phase != is.Phase && was.Phase != v1alpha1.PhaseLeased && (!waited || is.Phase == v1alpha1.PhaseCompleted) {
		return true
	}
	return is.FinishedGeneration != 0 && is.FinishedGeneration != generation ||
		is.Progress != nil && is.Progress.Generation != generation || generation < old.LeaseGeneration()
}
