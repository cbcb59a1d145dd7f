// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Bounds of the CRD's schema.
const (
	maxKeyLength            = 256
	maxLeaseDurationSeconds = 86400
	maxMaxAttempts          = 1000
	maxIdempotencyTTL       = 604800
)

// checkName refuses a name or namespace that would turn the request into one for another resource.
func (c *Client) checkName(name string) error {
	errs := c.validateNamespace()
	for _, problem := range apivalidation.NameIsDNSSubdomain(name, false) {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), name, problem))
	}
	if len(errs) > 0 {
		return invalid(name, errs)
	}
	return nil
}

func (c *Client) validateNamespace() field.ErrorList {
	if c.namespace == "" {
		return field.ErrorList{field.Required(field.NewPath("metadata", "namespace"), "this client is for all namespaces, and only lists and watches")}
	}
	return nil
}

// validate refuses some of what the API server would refuse. It does not check the template. Without a template, it does not
// know which fields a JobDefinition adds, and whether a Job executes the run.
func (c *Client) validate(run *v1alpha1.JobRun) error {
	errs := c.validateNamespace()
	if len(errs) == 0 {
		errs = apivalidation.ValidateObjectMeta(&run.ObjectMeta, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	}
	if run.Spec.Template != nil && len(run.Name) > v1alpha1.MaxTemplateRunName {
		errs = append(errs, field.TooLong(field.NewPath("metadata", "name"), "", v1alpha1.MaxTemplateRunName))
	}
	errs = append(errs, validateSpec(&run.Spec, field.NewPath("spec"))...)
	if len(errs) > 0 {
		return invalid(run.Name, errs)
	}
	return nil
}

func validateSpec(spec *v1alpha1.JobRunSpec, path *field.Path) field.ErrorList {
	errs := validateJobName(spec.JobName, path.Child("jobName"))
	errs = append(errs, validateInput(spec, path.Child("input"))...)
	errs = append(errs, validateKeys(spec, path)...)
	errs = append(errs, validateAmount(spec.LeaseDurationSeconds, maxLeaseDurationSeconds, path.Child("leaseDurationSeconds"))...)
	errs = append(errs, validateAmount(spec.MaxAttempts, maxMaxAttempts, path.Child("maxAttempts"))...)
	if ttl := spec.TTLSecondsAfterFinished; ttl != nil && *ttl < 0 {
		errs = append(errs, field.Invalid(path.Child("ttlSecondsAfterFinished"), *ttl, "must not be negative"))
	}
	return errs
}

func validateJobName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for _, problem := range validation.IsDNS1123Label(name) {
		errs = append(errs, field.Invalid(path, name, problem))
	}
	return errs
}

func validateInput(spec *v1alpha1.JobRunSpec, path *field.Path) field.ErrorList {
	switch {
	case spec.Input == nil:
		return nil
	case len(spec.Input.Raw) > v1alpha1.MaxInputBytes:
		return field.ErrorList{field.TooLong(path, "", v1alpha1.MaxInputBytes)}
	case len(spec.Input.Raw) > 0 && !json.Valid(spec.Input.Raw):
		return field.ErrorList{field.Invalid(path, "", "must be JSON")}
	case v1alpha1.Levels(spec.Input.Raw) > v1alpha1.MaxLevels:
		return field.ErrorList{field.Invalid(path, "", fmt.Sprintf("must have at most %d levels of arrays and objects", v1alpha1.MaxLevels))}
	default:
		return nil
	}
}

func validateKeys(spec *v1alpha1.JobRunSpec, path *field.Path) field.ErrorList {
	errs := validateKey(spec.ConcurrencyKey, path.Child("concurrencyKey"))
	errs = append(errs, validateKey(spec.IdempotencyKey, path.Child("idempotencyKey"))...)
	errs = append(errs, validateIdempotency(spec, path)...)
	switch {
	case spec.Coalesce == "":
	case !slices.Contains(v1alpha1.CoalescePolicies, spec.Coalesce):
		errs = append(errs, field.NotSupported(path.Child("coalesce"), spec.Coalesce, v1alpha1.CoalescePolicies))
	case spec.ConcurrencyKey == "" && hasAllFields(spec):
		errs = append(errs, field.Invalid(path.Child("coalesce"), spec.Coalesce, "coalesce needs concurrencyKey"))
	}
	return errs
}

// validateIdempotency checks how long the idempotencyKey lasts.
func validateIdempotency(spec *v1alpha1.JobRunSpec, path *field.Path) field.ErrorList {
	ttl, release := path.Child("idempotencyTTLSeconds"), path.Child("idempotencyRelease")
	errs := validateAmount(spec.IdempotencyTTLSeconds, maxIdempotencyTTL, ttl)
	if spec.IdempotencyRelease != "" && !slices.Contains(releasePolicies, spec.IdempotencyRelease) {
		errs = append(errs, field.NotSupported(release, spec.IdempotencyRelease, releasePolicies))
	}
	if spec.IdempotencyKey != "" || !hasAllFields(spec) {
		return errs
	}
	if spec.IdempotencyTTLSeconds != 0 {
		errs = append(errs, field.Invalid(ttl, spec.IdempotencyTTLSeconds, "idempotencyTTLSeconds needs idempotencyKey"))
	}
	if spec.IdempotencyRelease != "" {
		errs = append(errs, field.Invalid(release, spec.IdempotencyRelease, "idempotencyRelease needs idempotencyKey"))
	}
	return errs
}

// hasAllFields reports whether no JobDefinition adds fields to the spec, such as keys: a spec with a template never has one.
func hasAllFields(spec *v1alpha1.JobRunSpec) bool { return spec.Template != nil }

var releasePolicies = []v1alpha1.IdempotencyReleasePolicy{v1alpha1.IdempotencyReleaseNever, v1alpha1.IdempotencyReleaseOnFailure}

// validateKey counts characters, as the API server does. It refuses invalid UTF-8, which would arrive as another key.
func validateKey(key string, path *field.Path) field.ErrorList {
	switch {
	case !utf8.ValidString(key):
		return field.ErrorList{field.Invalid(path, key, "must be UTF-8")}
	case utf8.RuneCountInString(key) > maxKeyLength:
		return field.ErrorList{field.TooLong(path, "", maxKeyLength)}
	default:
		return nil
	}
}

// validateAmount accepts 0, which means not set.
func validateAmount(amount, most int32, path *field.Path) field.ErrorList {
	if amount < 0 || amount > most {
		return field.ErrorList{field.Invalid(path, amount, validation.InclusiveRangeError(1, int(most)))}
	}
	return nil
}
