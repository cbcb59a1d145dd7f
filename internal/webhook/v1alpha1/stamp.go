package v1alpha1

import (
	"encoding/json"
	"strings"

	"gomodules.xyz/jsonpatch/v2"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// stampedLabels are the labels that the operator keeps.
var stampedLabels = []string{v1alpha1.LabelJobName, v1alpha1.LabelKey, v1alpha1.LabelDisposition}

// stamp is the patch that writes name, labels and admission into the object as
// it was sent. It touches nothing else: to send the decoded object back would
// render the caller's quantities anew.
func stamp(raw []byte, run *v1alpha1.JobRun, admission v1alpha1.Admission) []jsonpatch.Operation {
	labels := map[string]string{
		v1alpha1.LabelJobName:     run.Spec.JobName,
		v1alpha1.LabelDisposition: strings.ToLower(string(admission.Disposition)),
	}
	if run.Spec.ConcurrencyKey != "" {
		labels[v1alpha1.LabelKey] = v1alpha1.ConcurrencyKeyName(run.Spec.JobName, run.Spec.ConcurrencyKey)
	}
	return append(stampLabels(raw, labels),
		jsonpatch.NewOperation("add", "/metadata/name", run.Name),
		jsonpatch.NewOperation("add", "/spec/admission", admission),
	)
}

// stampLabels sets the stamped labels to want and removes those not in it.
func stampLabels(raw []byte, want map[string]string) []jsonpatch.Operation {
	have, found := labelsIn(raw)
	var ops []jsonpatch.Operation
	if !found {
		ops = append(ops, jsonpatch.NewOperation("add", "/metadata/labels", map[string]string{}))
	}
	for _, name := range stampedLabels {
		path := "/metadata/labels/" + strings.ReplaceAll(name, "/", "~1")
		current, has := have[name]
		value, wanted := want[name]
		switch {
		case wanted && (!has || current != value):
			ops = append(ops, jsonpatch.NewOperation("add", path, value))
		case !wanted && has:
			ops = append(ops, jsonpatch.NewOperation("remove", path, nil))
		}
	}
	return ops
}

// labelsIn are the labels of an object as sent, and whether it has the field.
func labelsIn(raw []byte) (map[string]string, bool) {
	var object struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, false
	}
	return object.Metadata.Labels, object.Metadata.Labels != nil
}
