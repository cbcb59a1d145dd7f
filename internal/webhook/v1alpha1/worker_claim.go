// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"cmp"
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
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// ClaimPath is the URL path of the claims by external workers. config/webhook names it too.
const ClaimPath = "/claim-batch-jobrun-dev-v1alpha1-jobrun"

// ClaimHandler answers the status updates by which external workers claim runs with a concurrencyKey, or of a job with a
// definition. It does the compare-and-swap on the RunKey before it allows the update. It refuses a claim of a run that its
// definition holds back.
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
		// The API server compares the resourceVersion only after this answer.
		return claimRefused(req.Name, errChanged)
	}
	if old.Spec.ConcurrencyKey != "" {
		if err := h.claimable(ctx, old); err != nil {
			return claimRefused(req.Name, err)
		}
	}
	if err := h.heldBack(ctx, old); err != nil {
		return claimRefused(req.Name, err)
	}
	if old.Spec.ConcurrencyKey == "" {
		return admission.Allowed("")
	}
	version, err := h.Keys.Grant(ctx, old, c.Status.Lease.Generation, req.DryRun != nil && *req.DryRun)
	if err != nil {
		return claimRefused(req.Name, err)
	}
	claims.WithLabelValues("granted").Inc()
	return admission.Patched("", jsonpatch.NewOperation("add", "/status/lease/keyVersion", version))
}

// claim holds the fields of a status update that ClaimHandler reads.
type claim struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Status struct {
		Phase v1alpha1.Phase     `json:"phase"`
		Lease *v1alpha1.RunLease `json:"lease"`
	} `json:"status"`
}

// newClaim reads a claim. It also decodes the whole status if the status is small, to refuse a malformed one. Otherwise
// the API server would refuse the update after the grant. The run would then hold its key until the controller takes the
// grant back.
func newClaim(raw []byte) (*claim, field.ErrorList) {
	c := &claim{}
	if errs := decode(raw, c, nil); len(errs) > 0 {
		return nil, errs
	}
	var sent struct {
		Status json.RawMessage `json:"status"`
	}
	err := json.Unmarshal(raw, &sent)
	if err != nil || len(sent.Status) > maxBytes || countElements(sent.Status) > maxElements {
		return c, nil
	}
	if errs := decode(sent.Status, &v1alpha1.JobRunStatus{}, field.NewPath("status")); len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// validateClaim returns what is wrong with a claim. It reads the spec from old, because the API server drops the spec of
// a status update.
func validateClaim(c *claim, old *v1alpha1.JobRun) field.ErrorList {
	status := field.NewPath("status")
	switch {
	case c.Status.Phase != v1alpha1.PhaseLeased:
		return field.ErrorList{field.Invalid(status.Child("phase"), c.Status.Phase, "a claim must set phase Leased")}
	case c.Status.Lease == nil:
		return field.ErrorList{field.Required(status.Child("lease"), "a claim must set the lease")}
	case old.RunsAsJob():
		return field.ErrorList{field.Forbidden(status.Child("lease", "holderIdentity"), "this run is executed by a Job, not by a worker")}
	default:
		return nil
	}
}

// notClaimableError means that a worker cannot claim the run now.
type notClaimableError struct{ why string }

func (e *notClaimableError) Error() string { return e.why }

var errChanged = &notClaimableError{"the run has changed: read it again"}

// claimable returns an error if a worker cannot claim the run. It reads the run live, because the cache and the caller may
// be out of date.
func (h *ClaimHandler) claimable(ctx context.Context, old *v1alpha1.JobRun) error {
	live := &v1alpha1.JobRun{}
	err := h.Live.Get(ctx, types.NamespacedName{Namespace: old.Namespace, Name: old.Name}, live)
	switch {
	case err != nil:
		return fmt.Errorf("read JobRun %s: %w", old.Name, err)
	case live.UID != old.UID || live.ResourceVersion != old.ResourceVersion:
		return errChanged
	case live.Status.Phase != v1alpha1.PhasePending:
		phase := cmp.Or(string(live.Status.Phase), "without phase")
		return &notClaimableError{fmt.Sprintf("the run is %s: only a Pending run can be claimed", phase)}
	case live.EndRequested():
		return &notClaimableError{"the run is being cancelled"}
	}
	return h.nothingExecutes(ctx, live)
}

// heldBack returns an error if the definition of a run keeps it from starting.
func (h *ClaimHandler) heldBack(ctx context.Context, run *v1alpha1.JobRun) error {
	if !executor.IsDefined(run) {
		return nil
	}
	name := types.NamespacedName{Namespace: run.Namespace, Name: run.Spec.JobName}
	found, err := cache.FindDefinition(ctx, h.Cached, h.Live, name, nil)
	if err != nil {
		return err
	}
	if why := executor.HoldsBack(found, run); why != "" {
		return &notClaimableError{why}
	}
	return nil
}

// nothingExecutes returns an error if the cache shows a Job that still executes for the key. Grant reads those live that
// the key notes. If not all replicas know these notes, nothingExecutes lists the Jobs live.
func (h *ClaimHandler) nothingExecutes(ctx context.Context, run *v1alpha1.JobRun) error {
	reader := h.Cached
	var ofKey client.ListOption = client.MatchingFields{cache.FieldJobHome: runkey.Home(run)}
	if h.Notes != nil && !h.Notes() {
		reader, ofKey = h.Live, client.MatchingLabels{v1alpha1.LabelKey: runkey.Home(run)}
	}
	var jobs batchv1.JobList
	if err := reader.List(ctx, &jobs, client.InNamespace(run.Namespace), ofKey); err != nil {
		return fmt.Errorf("list the Jobs of the key: %w", err)
	}
	for i := range jobs.Items {
		if executor.ExecutesRun(&jobs.Items[i]) && !executor.IsFinished(&jobs.Items[i]) {
			return &notClaimableError{fmt.Sprintf("Job %s still executes for the key: try again", jobs.Items[i].Name)}
		}
	}
	return nil
}

// claimRefused answers with a 409 if another claim, a stale object or a running Job is in the way. The worker then tries
// another run.
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
