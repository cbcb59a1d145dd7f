// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// The API server asks a webhook before it has looked at the schema, so the webhook bounds
// what it reads. Those limits are here, and those of the API that neither the schema nor
// CEL can check, or say as well.
const (
	// maxBytes bounds a new JobRun, and the spec of a changed one.
	maxBytes = 512 << 10
	// maxElements bounds the fields and items of a template. The smallest, {}, may
	// become a container of 400 bytes, and three errors.
	maxElements = 10000
	// maxSchemaElements bounds the template of a run that the schema is asked about
	// before a key is taken: it compares each error with all others. A larger one is
	// left to the API server.
	maxSchemaElements = 1000
	// maxErrors bounds the errors of one answer, maxBadValue and maxDetail what each shows.
	maxErrors   = 100
	maxBadValue = 256
	maxDetail   = 1024
)

// objectSizeErrors reports a new JobRun that is too large to be read.
func objectSizeErrors(object []byte) field.ErrorList {
	if len(object) <= maxBytes {
		return nil
	}
	var sent struct {
		Spec struct {
			Input json.RawMessage `json:"input"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(object, &sent); err == nil {
		if errs := inputSizeErrors(sent.Spec.Input); len(errs) > 0 {
			return errs
		}
	}
	return field.ErrorList{field.TooLong(field.NewPath("spec"), "", maxBytes)}
}

// specSizeErrors reports a spec that is too large to be read.
func specSizeErrors(spec json.RawMessage) field.ErrorList {
	if len(spec) <= maxBytes {
		return nil
	}
	return field.ErrorList{field.TooLong(field.NewPath("spec"), "", maxBytes)}
}

// templateSizeErrors reports a template of too many elements.
func templateSizeErrors(elements int) field.ErrorList {
	if elements <= maxElements {
		return nil
	}
	return field.ErrorList{field.TooMany(field.NewPath("spec", "template"), elements, maxElements)}
}

// isLargeStatus reports whether a status costs too much to be read whole.
func isLargeStatus(status json.RawMessage) bool {
	return len(status) > maxBytes || countElements(status) > maxElements
}

// countElements counts the fields and items in JSON, about.
func countElements(raw json.RawMessage) int {
	n, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch {
		case quoted && raw[i] == '\\':
			i++
		case raw[i] == '"':
			quoted = !quoted
		case raw[i] == ',' && !quoted:
			n++
		}
	}
	return n
}

// inputSizeErrors reports an input that is too large.
func inputSizeErrors(input json.RawMessage) field.ErrorList {
	if len(input) <= v1alpha1.MaxInputBytes {
		return nil
	}
	return field.ErrorList{field.TooLong(field.NewPath("spec", "input"), "", v1alpha1.MaxInputBytes)}
}

// maxNameLength returns how long the name of a run may be. With a template, Jobs and Pods
// are named after it.
func maxNameLength(run *v1alpha1.JobRun) int {
	if run.Spec.Template != nil {
		return v1alpha1.MaxTemplateRunName
	}
	return validation.DNS1123SubdomainMaxLength
}

// nameLengthErrors reports a name that is too long. CEL does it too; this one names the
// field. A name that no object may have is reported with the rest of the metadata.
func nameLengthErrors(run *v1alpha1.JobRun) field.ErrorList {
	longest := maxNameLength(run)
	if len(run.Name) <= longest || len(validation.IsDNS1123Subdomain(run.Name)) > 0 {
		return nil
	}
	return field.ErrorList{field.TooLong(field.NewPath("metadata", "name"), "", longest)}
}

// limitErrors keeps an answer small: it returns some of the errors, and little of each
// bad value.
func limitErrors(errs field.ErrorList) field.ErrorList {
	errs = errs[:min(len(errs), maxErrors)]
	for _, err := range errs {
		err.Detail = err.Detail[:min(len(err.Detail), maxDetail)]
		switch value := err.BadValue.(type) {
		case bool, int, int32, int64, float64, nil:
		case string:
			err.BadValue = value[:min(len(value), maxBadValue)]
		default:
			err.BadValue = ""
		}
	}
	return errs
}

var (
	// costlyQuantity is how a quantity begins that takes seconds to read, or minutes:
	// with an exponent of three digits or more, or very many digits.
	costlyQuantity = regexp.MustCompile(`^[+-]?[0-9.]*([0-9.]{64}|[eE][+-]?[0-9.]{3})`)
	// maybeCostlyQuantity matches JSON that may have such a quantity in it.
	maybeCostlyQuantity = regexp.MustCompile(`[0-9.]{64}|[eE][+-]?[0-9.]{3}`)
)

// quantityErrors reports the quantities of a template that cost too much to be read.
func quantityErrors(raw json.RawMessage) field.ErrorList {
	if !maybeCostlyQuantity.Match(raw) {
		return nil
	}
	var template any
	if err := json.Unmarshal(raw, &template); err != nil {
		return nil // The decoder of the spec reports it.
	}
	return quantityErrorsIn(template, field.NewPath("spec", "template"))
}

func quantityErrorsIn(value any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch value := value.(type) {
	case map[string]any:
		for name, child := range value {
			switch name {
			case "limits", "requests", "overhead":
				errs = append(errs, quantityMapErrors(child, path.Child(name))...)
			case "sizeLimit", "divisor":
				errs = append(errs, oneQuantityErrors(child, path.Child(name))...)
			case "metadata", "nodeSelector", "matchLabels": // Their fields have any name and hold text.
			default:
				errs = append(errs, quantityErrorsIn(child, path.Child(name))...)
			}
		}
	case []any:
		for i, child := range value {
			errs = append(errs, quantityErrorsIn(child, path.Index(i))...)
		}
	}
	return errs
}

func quantityMapErrors(value any, path *field.Path) field.ErrorList {
	quantities, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	var errs field.ErrorList
	for name, quantity := range quantities {
		errs = append(errs, oneQuantityErrors(quantity, path.Key(name))...)
	}
	return errs
}

func oneQuantityErrors(value any, path *field.Path) field.ErrorList {
	quantity, ok := value.(string)
	if !ok || !costlyQuantity.MatchString(strings.TrimSpace(quantity)) { // The decoder trims it, too.
		return nil
	}
	return field.ErrorList{field.Invalid(path, fmt.Sprintf("%.64s", quantity), "a quantity has less than 64 digits, and its exponent less than 3")}
}
