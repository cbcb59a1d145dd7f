// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

const (
	callTimeout = 10 * time.Second
	retryPause  = 200 * time.Millisecond
	// insistence is how long a worker that is cut off waits for its late writes.
	insistence = 2 * time.Minute
)

func newClient(config *rest.Config) (client.Client, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	mapper := meta.NewDefaultRESTMapper(nil) // A worker's role does not need the right to discover.
	mapper.Add(v1alpha1.GroupVersion.WithKind("JobRun"), meta.RESTScopeNamespace)
	return client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
}

// insist makes every write that a worker without an SDK might make after its lease was lost.
func (h *hand) insist(ctx context.Context, run *worker.Run) {
	ctx, cancel := context.WithTimeout(ctx, insistence)
	defer cancel()
	if !h.isOver(ctx, run) {
		return // The history then has no late write.
	}
	for !errors.Is(h.write(run, "late"), errFenced) { // It is fenced once its successor has written.
		if !pause(ctx, retryPause) {
			return
		}
	}
	now := metav1.NowMicro()
	lease := map[string]any{"generation": run.Generation, "renewTime": now}
	h.patch(ctx, run, types.MergePatchType, map[string]any{"status": map[string]any{"lease": lease}})
	h.patch(ctx, run, types.JSONPatchType, []operation{
		{"add", "/status/progress", v1alpha1.Progress{Generation: run.Generation, Current: new(int64(1))}},
	})
	for _, phase := range []v1alpha1.Phase{v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed} {
		end := []operation{{"add", "/status/finishedGeneration", run.Generation}, {"add", "/status/phase", phase}}
		if phase == v1alpha1.PhaseFailed {
			end = append(end, operation{"add", "/status/error", "late"})
		}
		h.patch(ctx, run, types.JSONPatchType, end)
	}
}

// isOver waits until the API server shows that the run is no longer held under the generation.
func (h *hand) isOver(ctx context.Context, run *worker.Run) bool {
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		now := &v1alpha1.JobRun{}
		err := h.api.Get(call, client.ObjectKey{Namespace: run.Namespace, Name: run.Name}, now)
		cancel()
		if err == nil && (now.Status.Phase != v1alpha1.PhaseLeased || now.Status.Lease.Generation > run.Generation) {
			return true
		}
		if !pause(ctx, retryPause) {
			return false
		}
	}
}

// operation is one operation of a JSON Patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patch sends a write until it gets any answer. The tap records the answer.
func (h *hand) patch(ctx context.Context, run *worker.Run, kind types.PatchType, patch any) {
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		target := &v1alpha1.JobRun{}
		target.Namespace, target.Name = run.Namespace, run.Name
		err := h.api.Status().Patch(call, target, client.RawPatch(kind, mustJSON(patch)))
		cancel()
		if err == nil || apierrors.IsInvalid(err) || !pause(ctx, retryPause) {
			return
		}
	}
}
