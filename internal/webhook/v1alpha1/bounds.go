package v1alpha1

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// maxBytes bounds a new JobRun, and the spec of a changed one.
	maxBytes = 512 << 10
	// maxElements bounds the fields and items of a template. The least of them, {}, may
	// become a container of 400 bytes, and three errors.
	maxElements = 10000
	// maxChecked bounds those for which the schema is asked before a key is taken: it
	// compares each error with all others. What is larger the API server judges alone.
	maxChecked = 1000
	// maxErrors bounds the errors of one answer, maxBadValue and maxDetail what each shows.
	maxErrors   = 100
	maxBadValue = 256
	maxDetail   = 1024
)

// elements counts the fields and items in JSON, about.
func elements(raw json.RawMessage) int {
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

// templateOf is the template in a spec, as it was sent.
func templateOf(spec json.RawMessage) json.RawMessage {
	var parts struct {
		Template json.RawMessage `json:"template"`
	}
	if err := json.Unmarshal(spec, &parts); err != nil {
		return nil // Whoever reads all of it says so.
	}
	return parts.Template
}

// bounded keeps an answer small: it has some of the errors, and little of what is wrong.
func bounded(errs field.ErrorList) field.ErrorList {
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

// boundless says what makes a spec too large to be decoded. The API server asks before
// it has looked at the schema.
func boundless(spec json.RawMessage) field.ErrorList {
	path := field.NewPath("spec")
	if len(spec) > maxBytes {
		return field.ErrorList{field.TooLong(path, "", maxBytes)}
	}
	template, path := templateOf(spec), path.Child("template")
	if n := elements(template); n > maxElements {
		return field.ErrorList{field.TooMany(path, n, maxElements)}
	}
	return endlessQuantities(template, path)
}

// unreadable says where it is that JSON cannot be read.
func unreadable(path *field.Path, err error) field.ErrorList {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) && mismatch.Field != "" {
		path = path.Child(mismatch.Field)
	}
	return field.ErrorList{field.Invalid(path, "", err.Error())}
}

var (
	// endless is what a quantity may begin with that takes seconds to read, or minutes:
	// an exponent of three digits or more, or very many digits. The API server asks a
	// webhook before it looks at the schema.
	endless = regexp.MustCompile(`^[+-]?[0-9.]*([0-9.]{64}|[eE][+-]?[0-9.]{3})`)
	// suspicious is what JSON looks like if there may be such a quantity in it.
	suspicious = regexp.MustCompile(`[0-9.]{64}|[eE][+-]?[0-9.]{3}`)
)

// tooLarge says what makes a new JobRun too large to be decoded.
func tooLarge(raw []byte) field.ErrorList {
	if len(raw) <= maxBytes {
		return nil
	}
	var run struct {
		Spec struct {
			Input json.RawMessage `json:"input"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &run); err == nil && len(run.Spec.Input) > v1alpha1.MaxInputBytes {
		return field.ErrorList{field.TooLong(field.NewPath("spec", "input"), "", v1alpha1.MaxInputBytes)}
	}
	return field.ErrorList{field.TooLong(field.NewPath("spec"), "", maxBytes)}
}

// endlessQuantities finds the quantities of a template that nobody should try to read.
func endlessQuantities(raw json.RawMessage, path *field.Path) field.ErrorList {
	if !suspicious.Match(raw) {
		return nil
	}
	var template any
	if err := json.Unmarshal(raw, &template); err != nil {
		return nil // Whoever reads all of it says so.
	}
	return endlessIn(template, path)
}

func endlessIn(value any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch value := value.(type) {
	case map[string]any:
		for name, child := range value {
			switch name {
			case "limits", "requests", "overhead":
				errs = append(errs, endlessAmounts(child, path.Child(name))...)
			case "sizeLimit", "divisor":
				errs = append(errs, endlessAmount(child, path.Child(name))...)
			case "metadata", "nodeSelector", "matchLabels": // texts under names that are anybody's
			default:
				errs = append(errs, endlessIn(child, path.Child(name))...)
			}
		}
	case []any:
		for i, child := range value {
			errs = append(errs, endlessIn(child, path.Index(i))...)
		}
	}
	return errs
}

func endlessAmounts(value any, path *field.Path) field.ErrorList {
	amounts, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	var errs field.ErrorList
	for name, amount := range amounts {
		errs = append(errs, endlessAmount(amount, path.Key(name))...)
	}
	return errs
}

func endlessAmount(value any, path *field.Path) field.ErrorList {
	amount, ok := value.(string)
	if !ok || !endless.MatchString(strings.TrimSpace(amount)) { // as who reads it trims it
		return nil
	}
	return field.ErrorList{field.Invalid(path, fmt.Sprintf("%.64s", amount), "a quantity has less than 64 digits, and its exponent less than 3")}
}
