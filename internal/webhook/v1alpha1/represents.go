// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"encoding/json"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// This file admits JobRuns that stand for several triggers: spec.represents. The CRD's rules check what such a trigger must have
// beside it.

var representsPath = field.NewPath("spec", "represents")

// checkRepresents returns nil if the user of a request may create a JobRun that stands for several triggers, or if the JobRun
// stands for one. Otherwise nothing is reserved.
func (h *Handler) checkRepresents(req admission.Request, run *v1alpha1.JobRun) *apierrors.StatusError {
	switch {
	case run.Spec.Represents == nil:
		return nil
	case !h.rights.isGateway(req):
		forbiddenRequests.Inc()
		return apierrors.NewForbidden(resource, run.Name, fmt.Errorf("spec.represents: only the gateway sets it, user %q; this is user %q",
			h.rights.gateway, req.UserInfo.Username))
	case !h.represents():
		return olderReplica()
	case isDryRun(req):
		return newInvalid(run.Name, field.ErrorList{field.Forbidden(representsPath, "a dry run stands for one trigger")})
	default:
		return nil
	}
}

// olderReplica is the answer while a replica would count a JobRun that stands for several triggers as one.
func olderReplica() *apierrors.StatusError {
	err := apierrors.NewServiceUnavailable("spec.represents cannot be admitted yet: a replica of the operator is of an older version, and " +
		"would count one trigger; nothing is reserved; send each trigger alone")
	err.ErrStatus.Details = &metav1.StatusDetails{Group: kind.Group, Kind: kind.Kind, Causes: []metav1.StatusCause{{
		Type: v1alpha1.CauseOlderReplica, Field: representsPath.String(), Message: "a replica is of an older version",
	}}}
	return err
}

func isDryRun(req admission.Request) bool { return req.DryRun != nil && *req.DryRun }

// representsErrors returns what is wrong with spec.represents and the schema cannot tell, or the webhook must know before it counts.
func representsErrors(sent *submission) field.ErrorList {
	r := sent.run.Spec.Represents
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	if !isRepresentable(r.Count) {
		errs = append(errs, field.Invalid(representsPath.Child("count"), r.Count, fmt.Sprintf("must be 2 to %d", v1alpha1.MaxRepresented)))
	}
	path := representsPath.Child("recent")
	if most := min(v1alpha1.MaxRepresentedRecent, max(int(r.Count)-1, 0)); len(r.Recent) > most {
		errs = append(errs, field.TooMany(path, len(r.Recent), most))
	}
	return append(errs, recentErrors(sent, path)...)
}

func isRepresentable(count int32) bool { return count >= 2 && count <= v1alpha1.MaxRepresented }

// recentErrors returns the errors about the size of spec.represents.recent and about the levels of its inputs.
func recentErrors(sent *submission, path *field.Path) field.ErrorList {
	var represents struct {
		Recent json.RawMessage `json:"recent"`
	}
	fields, err := sent.fields()
	if err == nil {
		err = json.Unmarshal(fields["represents"], &represents)
	}
	if err != nil {
		return field.ErrorList{field.Invalid(representsPath, "", err.Error())}
	}
	if size := sizeOf(represents.Recent); size > v1alpha1.MaxRepresentedRecentBytes {
		tooLong := field.TooLong(path, "", v1alpha1.MaxRepresentedRecentBytes)
		tooLong.Detail = fmt.Sprintf("%s: it has %d bytes of JSON", tooLong.Detail, size)
		return field.ErrorList{tooLong}
	}
	for i, trigger := range sent.run.Spec.Represents.Recent {
		if trigger.Input == nil {
			continue
		}
		if errs := valueErrors(trigger.Input.Raw, v1alpha1.MaxInputBytes, path.Index(i).Child("input")); len(errs) > 0 {
			return errs
		}
	}
	return nil
}

// admissionForRules returns a spec.admission with which the CRD's rules judge a trigger that the webhook has not answered yet; nil
// if no rule asks for one.
func admissionForRules(run *v1alpha1.JobRun) map[string]any {
	if r := run.Spec.Represents; r != nil && isRepresentable(r.Count) {
		return map[string]any{"disposition": "Created", "runName": "r", "runToken": "t", "token": "t", "represents": int64(r.Count)}
	}
	return nil
}

// checkCancel refuses to cancel a JobRun that stands for several triggers and does not execute: one caller must not take back the
// triggers of the others. Once it executes, cancel stops an execution, as for every run.
func checkCancel(old, run *v1alpha1.JobRun) *apierrors.StatusError {
	if old.Spec.Represents == nil || old.CancelRequested() || !run.CancelRequested() ||
		old.Status.Phase == v1alpha1.PhaseLeased || old.HasOutcome() {
		return nil
	}
	err := apierrors.NewConflict(resource, old.Name, fmt.Errorf("spec.cancel: the JobRun stands for %d triggers (spec.represents) and does not execute; "+
		"none of them is cancelled for the others; cancel the run once it executes, or delete the JobRun to take back all of them",
		old.Represented()))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: v1alpha1.CauseRepresents, Field: "spec.cancel", Message: strconv.FormatInt(old.Represented(), 10),
	}}
	return err
}

// sameRepresents reports whether two values of spec.represents are the same, whatever form their inputs have.
func sameRepresents(a, b *v1alpha1.Represents) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Count != b.Count || len(a.Recent) != len(b.Recent) {
		return false
	}
	for i := range a.Recent {
		x, y := &a.Recent[i], &b.Recent[i]
		if x.User != y.User || !x.Time.Equal(&y.Time) || !sameInput(x.Input, y.Input) {
			return false
		}
	}
	return true
}
