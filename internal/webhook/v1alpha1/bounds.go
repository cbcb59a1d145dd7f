package v1alpha1

import (
	"encoding/json"
	"fmt"
	"regexp"

	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// maxCreateBytes bounds a new JobRun. Decoded, it may take fifty times as much memory.
const maxCreateBytes = 512 << 10

var (
	// endless is what a quantity may begin with that takes seconds to read, or minutes:
	// an exponent of three digits or more, or very many digits. The API server asks a
	// webhook before it looks at the schema.
	endless = regexp.MustCompile(`^[+-]?[0-9.]*([0-9.]{64}|[eE][+-]?[0-9.]{3})`)
	// suspicious is what JSON looks like if there may be such a quantity in it.
	suspicious = regexp.MustCompile(`"[+-]?[0-9.]*([0-9.]{64}|[eE][+-]?[0-9.]{3})`)
)

// tooLarge says what makes a new JobRun too large to be decoded.
func tooLarge(raw []byte) field.ErrorList {
	if len(raw) <= maxCreateBytes {
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
	return field.ErrorList{field.TooLong(field.NewPath("spec"), "", maxCreateBytes)}
}

// endlessQuantities finds the quantities of a template that nobody should try to read.
func endlessQuantities(raw []byte) field.ErrorList {
	if !suspicious.Match(raw) {
		return nil
	}
	var run struct {
		Spec struct {
			Template any `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &run); err != nil {
		return nil // Whoever reads all of it says so.
	}
	return endlessIn(run.Spec.Template, field.NewPath("spec", "template"))
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
	if !ok || !endless.MatchString(amount) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, fmt.Sprintf("%.64s", amount), "a quantity has less than 64 digits, and its exponent less than 3")}
}
