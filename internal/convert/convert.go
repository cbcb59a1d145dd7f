// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"errors"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Finding is a field of a CronJob, and what a person has to know about it.
type Finding struct {
	// Field is the path of the field in the CronJob, for example spec.concurrencyPolicy.
	Field string
	// Message is one sentence, for people.
	Message string
}

// Result is what becomes of a CronJob.
type Result struct {
	// Definition is the JobDefinition. It is nil if there are problems.
	Definition *unstructured.Unstructured
	// Problems are what a definition cannot take over.
	Problems []Finding
	// Notes are what a definition does otherwise.
	Notes []Finding
}

// conversion is one conversion on its way.
type conversion struct {
	from   *batchv1.CronJob
	result Result
}

func (c *conversion) problem(path *field.Path, message string) {
	c.result.Problems = append(c.result.Problems, Finding{path.String(), message})
}

func (c *conversion) note(path *field.Path, message string) {
	c.result.Notes = append(c.result.Notes, Finding{path.String(), message})
}

var (
	metadata = field.NewPath("metadata")
	specPath = field.NewPath("spec")
)

// IsCronJob reports whether CronJob can convert the object.
func IsCronJob(object *unstructured.Unstructured) bool {
	group, _, _ := strings.Cut(object.GetAPIVersion(), "/")
	return group == batchv1.GroupName && object.GetKind() == "CronJob"
}

// CronJob returns the JobDefinition of a CronJob, of batch/v1 or batch/v1beta1. It does not change the CronJob, and takes
// its Job template over as it is.
func CronJob(cronJob *unstructured.Unstructured) Result {
	c := &conversion{from: &batchv1.CronJob{}}
	if !c.decode(cronJob) {
		return c.result
	}
	spec := map[string]any{}
	c.keys(spec)
	c.template(spec, cronJob)
	c.schedule(spec)
	c.history(spec)
	meta := c.metadata()
	if len(c.result.Problems) == 0 {
		c.result.Definition = &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": "JobDefinition", "metadata": meta, "spec": spec,
		}}
	}
	return c.result
}

// decode reports whether the CronJob has only fields that a CronJob has.
func (c *conversion) decode(cronJob *unstructured.Unstructured) bool {
	content := cronJob.DeepCopy().Object
	delete(content, "status")
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(content, c.from, true)
	if err == nil {
		return true
	}
	strict, isStrict := runtime.AsStrictDecodingError(err)
	if !isStrict {
		c.problem(specPath, err.Error())
		return false
	}
	for _, unknown := range strict.Errors() {
		c.problem(pathIn(unknown), unknown.Error()+": a CronJob does not have it")
	}
	return false
}

// pathIn returns the path in the error `unknown field "spec.field"`.
func pathIn(err error) *field.Path {
	if _, rest, found := strings.Cut(err.Error(), `"`); found {
		path, _, _ := strings.Cut(rest, `"`)
		return field.NewPath(path)
	}
	return specPath
}

// dropped are the annotations that belong to the object that was, and not to the job.
var dropped = []string{"kubectl.kubernetes.io/", "meta.helm.sh/", "argocd.argoproj.io/tracking-id"}

func (c *conversion) metadata() map[string]any {
	from := c.from.ObjectMeta
	switch problems := validation.IsDNS1123Label(from.Name); {
	case from.Name == "":
		c.problem(metadata.Child("name"), "it is missing, and is the name of the job")
	case len(problems) > 0:
		c.problem(metadata.Child("name"), errors.New(from.Name+" cannot be the name of a job: "+problems[0]).Error())
	}
	if len(from.OwnerReferences) > 0 {
		c.note(metadata.Child("ownerReferences"), "the definition has no owner: what made the CronJob does not know the definition")
	}
	meta := map[string]any{"name": from.Name}
	if from.Namespace != "" {
		meta["namespace"] = from.Namespace
	}
	set(meta, "labels", from.Labels)
	annotations := map[string]string{}
	for key, value := range from.Annotations {
		if !hasAnyPrefix(key, dropped) {
			annotations[key] = value
		}
	}
	set(meta, "annotations", annotations)
	return meta
}

func set(object map[string]any, name string, values map[string]string) {
	if len(values) == 0 {
		return
	}
	all := make(map[string]any, len(values))
	for key, value := range values {
		all[key] = value
	}
	object[name] = all
}

func hasAnyPrefix(text string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}
