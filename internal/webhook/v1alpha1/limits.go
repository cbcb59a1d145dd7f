// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// The API server calls a webhook before it checks the schema, so the webhook bounds what it reads. This file holds these
// limits, and the limits of the API that neither the schema nor CEL can check, or that they cannot report as clearly.
const (
	// maxBytes bounds a new JobRun, and the spec of a changed one.
	maxBytes = 512 << 10
	// maxLabelBytes bounds the names and values of the labels of a new JobRun. The operator and the gateways have those of all
	// JobRuns in memory, also of those that have ended.
	maxLabelBytes = 16 << 10
	// maxElements bounds the fields and items of a template. The smallest element, {}, may become a container of 400
	// bytes and three errors.
	maxElements = 10000
	// maxSchemaElements bounds the templates that the webhook validates by the schema before it takes a key. The
	// schema validation compares each error with all others. The API server alone validates a larger template.
	maxSchemaElements = 1000
	// maxErrors bounds the errors of one answer. maxBadValue and maxDetail bound the bytes that each error shows.
	maxErrors   = 100
	maxBadValue = 256
	maxDetail   = 1024
)

// objectSizeErrors reports a new JobRun above maxBytes.
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
		if errs := inputErrors(sent.Spec.Input); len(errs) > 0 {
			return errs
		}
	}
	return field.ErrorList{field.TooLong(field.NewPath("spec"), "", maxBytes)}
}

// countElements returns the approximate number of fields and items in JSON. It counts commas outside of strings.
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

// inputErrors reports an input above v1alpha1.MaxInputBytes or v1alpha1.MaxLevels.
func inputErrors(input json.RawMessage) field.ErrorList {
	return valueErrors(input, v1alpha1.MaxInputBytes, field.NewPath("spec", "input"))
}

// outputErrors reports an output above v1alpha1.MaxWorkerOutputBytes or v1alpha1.MaxLevels.
func outputErrors(output json.RawMessage) field.ErrorList {
	return valueErrors(output, v1alpha1.MaxWorkerOutputBytes, outputPath)
}

var outputPath = field.NewPath("status", "output")

// valueErrors reports a JSON value that is too large or has too many levels.
func valueErrors(value json.RawMessage, maxSize int, path *field.Path) field.ErrorList {
	if size := sizeOf(value); size > maxSize {
		err := field.TooLong(path, "", maxSize)
		err.Detail = fmt.Sprintf("%s: it has %d bytes of JSON", err.Detail, size)
		return field.ErrorList{err}
	}
	if v1alpha1.Levels(value) > v1alpha1.MaxLevels {
		return field.ErrorList{field.Invalid(path, "", fmt.Sprintf("must have at most %d levels of arrays and objects", v1alpha1.MaxLevels))}
	}
	return nil
}

// escapes matches what the API server escapes in a request to a webhook although JSON does not require it. A match may also
// begin with an escaped backslash.
var escapes = regexp.MustCompile(`\\\\|\\u(003[cCeE]|0026|202[89])`)

// sizeOf returns the number of bytes of a JSON value in which <, >, & and the line and paragraph separators are not escaped.
func sizeOf(value json.RawMessage) int {
	size := len(value)
	for _, at := range escapes.FindAllIndex(value, -1) {
		switch escape := value[at[0]:at[1]]; {
		case len(escape) == 2: // an escaped backslash
		case escape[2] == '2':
			size -= len(escape) - len("\u2028")
		default:
			size -= len(escape) - len("<")
		}
	}
	return size
}

// maxNameLength returns the maximum length of the name of a run. It is lower if a Job executes the run, because the names of Jobs
// and Pods begin with it.
func maxNameLength(run *v1alpha1.JobRun) int {
	if run.RunsAsJob() {
		return v1alpha1.MaxTemplateRunName
	}
	return validation.DNS1123SubdomainMaxLength
}

// nameLengthErrors reports a name that is too long. CEL checks this too, but its error does not name the field.
// apiServerErrors reports a name that no object may have.
func nameLengthErrors(run *v1alpha1.JobRun) field.ErrorList {
	longest := maxNameLength(run)
	if len(run.Name) <= longest || len(validation.IsDNS1123Subdomain(run.Name)) > 0 {
		return nil
	}
	return field.ErrorList{field.TooLong(field.NewPath("metadata", "name"), "", longest)}
}

// labelSizeErrors reports labels of more than maxLabelBytes.
func labelSizeErrors(labels map[string]string) field.ErrorList {
	size := 0
	for name, value := range labels {
		size += len(name) + len(value)
	}
	if size <= maxLabelBytes {
		return nil
	}
	return field.ErrorList{field.TooLong(field.NewPath("metadata", "labels"), "", maxLabelBytes)}
}

// limitErrors keeps an answer small. It returns the first maxErrors errors, with shortened texts and bad values.
func limitErrors(errs field.ErrorList) field.ErrorList {
	errs = errs[:min(len(errs), maxErrors)]
	for _, err := range errs {
		err.Detail = err.Detail[:min(len(err.Detail), maxDetail)]
		switch value := reflect.ValueOf(err.BadValue); {
		case !value.IsValid(), value.CanInt(), value.CanFloat(), value.Kind() == reflect.Bool:
		case value.Kind() == reflect.String:
			err.BadValue = value.String()[:min(value.Len(), maxBadValue)]
		default:
			err.BadValue = ""
		}
	}
	return errs
}

var (
	// costlyQuantity matches the start of a quantity that takes seconds or minutes to parse. Such a quantity has 64 or
	// more digits, or an exponent of three or more digits.
	costlyQuantity = regexp.MustCompile(`^[+-]?[0-9.]*([0-9.]{64}|[eE][+-]?[0-9.]{3})`)
	// maybeCostlyQuantity matches JSON that may contain a costly quantity.
	maybeCostlyQuantity = regexp.MustCompile(`[0-9.]{64}|[eE][+-]?[0-9.]{3}`)
)

// quantityErrors reports the quantities of a template that take too long to parse.
func quantityErrors(raw json.RawMessage) field.ErrorList {
	if !maybeCostlyQuantity.Match(raw) {
		return nil
	}
	var template any
	if err := json.Unmarshal(raw, &template); err != nil {
		return nil // readSubmission reports it when it decodes the spec.
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
				quantities, _ := child.(map[string]any)
				for resource, quantity := range quantities {
					errs = append(errs, oneQuantityErrors(quantity, path.Child(name).Key(resource))...)
				}
			case "sizeLimit", "divisor":
				errs = append(errs, oneQuantityErrors(child, path.Child(name))...)
			case "metadata", "nodeSelector", "matchLabels": // Their fields hold text, whatever their names are.
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

func oneQuantityErrors(value any, path *field.Path) field.ErrorList {
	quantity, ok := value.(string)
	if !ok || !costlyQuantity.MatchString(strings.TrimSpace(quantity)) { // The decoder trims the text, too.
		return nil
	}
	return field.ErrorList{field.Invalid(path, fmt.Sprintf("%.64s", quantity), "a quantity must have fewer than 64 digits, and its exponent fewer than 3")}
}
