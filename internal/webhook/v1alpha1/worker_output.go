// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// OutputPath is the URL path of the outputs of external workers. config/webhook names it too.
const OutputPath = "/output-batch-jobrun-dev-v1alpha1-jobrun"

// HandleOutput answers the status updates that change an output. It bounds the output, and keeps the output of a JobRun
// that has ended. CEL does not see the untyped output. The API server does not call the webhook for the operator's own
// updates.
func HandleOutput(_ context.Context, req admission.Request) admission.Response {
	sent, errs := readOutput(req.Object.Raw)
	if len(errs) > 0 {
		return invalid(req.Name, errs)
	}
	old, errs := readOutput(req.OldObject.Raw)
	if len(errs) > 0 {
		return invalid(req.Name, errs)
	}
	if sent.equal(old) {
		return admission.Allowed("")
	}
	if sent.isStale(old) {
		return refused(apierrors.NewConflict(resource, req.Name, errStale))
	}
	if old.final() {
		return invalid(req.Name, field.ErrorList{field.Forbidden(outputPath, "the output of a JobRun that has ended is final")})
	}
	if errs := outputErrors(sent.Status.Output); len(errs) > 0 {
		return invalid(req.Name, errs)
	}
	return admission.Allowed("")
}

// outcome holds the fields of a JobRun that the decision about an output reads.
type outcome struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Status struct {
		Phase  v1alpha1.Phase  `json:"phase"`
		Output json.RawMessage `json:"output"`
	} `json:"status"`
}

func readOutput(raw []byte) (*outcome, field.ErrorList) {
	o := &outcome{}
	return o, decode(raw, o, nil)
}

// final reports whether the JobRun is a run that has ended or a bound receipt.
func (o *outcome) final() bool {
	run := v1alpha1.JobRun{Status: v1alpha1.JobRunStatus{Phase: o.Status.Phase}}
	return run.HasEnded() || run.IsReceipt()
}

// errStale is what the API server says after the webhook.
var errStale = errors.New("the object has been modified; please apply your changes to the latest version and try again")

// isStale reports whether the update was made from another version than the stored one. A worker whose claim comes late has
// written nothing wrong, so it gets no 422.
func (o *outcome) isStale(stored *outcome) bool {
	version := o.Metadata.ResourceVersion
	return version != "" && version != stored.Metadata.ResourceVersion
}

// equal reports whether two outputs are the same JSON value. null equals a missing output.
func (o *outcome) equal(other *outcome) bool {
	return bytes.Equal(o.Status.Output, other.Status.Output) || reflect.DeepEqual(o.value(), other.value())
}

func (o *outcome) value() any {
	return inputValue(&apiextensionsv1.JSON{Raw: o.Status.Output})
}
