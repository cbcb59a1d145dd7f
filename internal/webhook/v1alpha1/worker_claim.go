// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"gomodules.xyz/jsonpatch/v2"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/keystore"
)

// ClaimPath is where claims by external workers come; config/webhook names it too.
const ClaimPath = "/claim-batch-jobrun-dev-v1alpha1-jobrun"

// ClaimHandler answers the status updates by which external workers claim runs
// with a concurrencyKey: it does the compare-and-swap on the RunKey before it
// lets the update through.
type ClaimHandler struct{ Options }

// NewClaimHandler makes a ClaimHandler.
func NewClaimHandler(o Options) *ClaimHandler { return &ClaimHandler{o} }

// Handle answers one claim.
func (h *ClaimHandler) Handle(ctx context.Context, req admission.Request) admission.Response {
	ctx, cancel := context.WithTimeout(ctx, admissionTimeout)
	defer cancel()
	c, errs := newClaim(req.Object.Raw)
	if len(errs) > 0 {
		return invalid(req.Name, errs)
	}
	old, errs := decodeStored(req.OldObject.Raw)
	if len(errs) > 0 {
		return invalid(req.Name, errs)
	}
	if errs := validateClaim(c, old); len(errs) > 0 {
		return invalid(req.Name, errs)
	}
	if c.Metadata.ResourceVersion != old.ResourceVersion {
		// The API server looks at it only after this answer.
		return claimRefused(req.Name, errChanged)
	}
	if err := h.claimable(ctx, old); err != nil {
		return claimRefused(req.Name, err)
	}
	version, err := h.Keys.Grant(ctx, old, c.Status.Lease.Generation, req.DryRun != nil && *req.DryRun)
	if err != nil {
		return claimRefused(req.Name, err)
	}
	claims.WithLabelValues("granted").Inc()
	return admission.Patched("", jsonpatch.NewOperation("add", "/status/lease/keyVersion", version))
}

// claim is what is decided on of a status update.
type claim struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Status struct {
		Phase v1alpha1.Phase     `json:"phase"`
		Lease *v1alpha1.RunLease `json:"lease"`
	} `json:"status"`
}

// newClaim reads a claim. The rest of its status is read if that costs little: what the
// API server refuses later would hold its key until the claim is taken back.
func newClaim(raw []byte) (*claim, field.ErrorList) {
	c := &claim{}
	if errs := decode(raw, c, nil); len(errs) > 0 {
		return nil, errs
	}
	var sent struct {
		Status json.RawMessage `json:"status"`
	}
	if err := json.Unmarshal(raw, &sent); err != nil || isLargeStatus(sent.Status) {
		return c, nil
	}
	if errs := decode(sent.Status, &v1alpha1.JobRunStatus{}, field.NewPath("status")); len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// validateClaim says what no claim may be. The spec of the claim itself says
// nothing: the API server drops it.
func validateClaim(c *claim, old *v1alpha1.JobRun) field.ErrorList {
	status := field.NewPath("status")
	switch {
	case c.Status.Phase != v1alpha1.PhaseLeased:
		return field.ErrorList{field.Invalid(status.Child("phase"), c.Status.Phase, "a claim enters phase Leased")}
	case c.Status.Lease == nil:
		return field.ErrorList{field.Required(status.Child("lease"), "a claim says who holds the lease")}
	case old.RunsAsJob():
		return field.ErrorList{field.Forbidden(status.Child("lease", "holderIdentity"), "this run is executed by a Job, not by a worker")}
	default:
		return nil
	}
}

// notClaimableError says that a run is not there to be claimed.
type notClaimableError struct{ why string }

func (e *notClaimableError) Error() string { return e.why }

var errChanged = &notClaimableError{"the run has changed, read it again"}

// claimable looks at the run, and at what executes for its key, live: a claim is
// decided on what is stored, never on what a cache or the caller remembers.
func (h *ClaimHandler) claimable(ctx context.Context, old *v1alpha1.JobRun) error {
	live := &v1alpha1.JobRun{}
	err := h.Live.Get(ctx, types.NamespacedName{Namespace: old.Namespace, Name: old.Name}, live)
	switch {
	case err != nil:
		return fmt.Errorf("read JobRun %s: %w", old.Name, err)
	case live.UID != old.UID || live.ResourceVersion != old.ResourceVersion:
		return errChanged
	case live.Status.Phase != v1alpha1.PhasePending:
		return &notClaimableError{fmt.Sprintf("the run is %s, only a Pending run can be claimed", phaseName(live.Status.Phase))}
	case live.EndRequested():
		return &notClaimableError{"the run is being cancelled"}
	}
	return h.nothingExecutes(ctx, live)
}

// nothingExecutes makes sure that no Job that was left behind executes for the key.
func (h *ClaimHandler) nothingExecutes(ctx context.Context, run *v1alpha1.JobRun) error {
	key := v1alpha1.ConcurrencyKeyName(run.Spec.JobName, run.Spec.ConcurrencyKey)
	var jobs batchv1.JobList
	if err := h.Live.List(ctx, &jobs, client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelKey: key}); err != nil {
		return fmt.Errorf("list the Jobs of the key: %w", err)
	}
	for i := range jobs.Items {
		if executor.ExecutesRun(&jobs.Items[i]) && !executor.IsFinished(&jobs.Items[i]) {
			return &notClaimableError{fmt.Sprintf("Job %s still executes for the key, try again", jobs.Items[i].Name)}
		}
	}
	return nil
}

func phaseName(phase v1alpha1.Phase) string {
	if phase == "" {
		return "without phase"
	}
	return string(phase)
}

// claimRefused is a 409 where somebody else was first, so that a worker moves on.
func claimRefused(name string, err error) admission.Response {
	var notGranted *keystore.NotGrantedError
	var notClaimable *notClaimableError
	switch {
	case errors.As(err, &notGranted), errors.As(err, &notClaimable):
		claims.WithLabelValues("refused").Inc()
		return refused(apierrors.NewConflict(resource, name, err))
	default:
		return answer(name, err)
	}
}
