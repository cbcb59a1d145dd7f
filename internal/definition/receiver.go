// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/cel/library"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	bodyVariable    = "body"
	headersVariable = "headers"
	// maxReceiverCost bounds the evaluation of one expression of a receiver, in CEL's units. They are not time: it is the
	// context that bounds that. Nothing bounds the parts of a body, so no cost is estimated before.
	maxReceiverCost = 1_000_000
)

// Receiver has the compiled expressions of a receiver. It is safe for concurrent use.
type Receiver struct {
	path          *field.Path
	filter, input *receiverExpression
}

// receiverExpression is one compiled expression of a receiver.
type receiverExpression struct {
	path    *field.Path
	text    string
	program cel.Program
}

// CompileReceivers returns what is wrong with the receivers of a JobDefinition. The errors name its fields.
func CompileReceivers(from *v1alpha1.JobDefinition) field.ErrorList {
	var all field.ErrorList
	for i := range from.Spec.Receivers {
		_, errs := CompileReceiver(&from.Spec.Receivers[i], specPath.Child("receivers").Index(i))
		all = append(all, errs...)
	}
	return all
}

// CompileReceiver compiles the expressions of a receiver. path is where the receiver is in the JobDefinition, and the errors name
// fields below it. It keeps no reference to from.
func CompileReceiver(from *v1alpha1.JobReceiver, path *field.Path) (*Receiver, field.ErrorList) {
	r := &Receiver{path: path}
	var errs field.ErrorList
	compile := func(name, text string, wants ...*cel.Type) *receiverExpression {
		if text == "" {
			return nil
		}
		program, problem := receiverProgram(text, wants)
		if problem != "" {
			errs = append(errs, field.Invalid(path.Child(name), text, problem))
			return nil
		}
		return &receiverExpression{path.Child(name), text, program}
	}
	r.filter = compile("filterExpression", from.FilterExpression, cel.BoolType, cel.DynType)
	r.input = compile("inputExpression", from.InputExpression)
	if IsWithheld(from.IdempotencyHeader) {
		errs = append(errs, field.Invalid(path.Child("idempotencyHeader"), from.IdempotencyHeader,
			"must not be a header that has a secret or a signature, because every JobRun shows its idempotencyKey"))
	}
	return r, errs
}

// withheld are the headers that expressions do not see. Who writes a definition, or reads JobRuns, need not know the secret, and
// must not be able to send a delivery again.
var withheld = []string{
	"authorization", "proxy-authorization", "cookie", "x-gitlab-token", "x-hub-signature", "x-hub-signature-256", "x-signature-256",
	"webhook-signature",
}

// IsWithheld reports whether expressions do not see a header, and an idempotencyKey must not be made of it.
func IsWithheld(header string) bool { return slices.Contains(withheld, strings.ToLower(header)) }

// receiverEnvironment returns the environment that has body and headers. It is not the API server's, which refuses lists and objects
// with values of different types: these are what inputs consist of.
var receiverEnvironment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable(bodyVariable, cel.DynType), cel.Variable(headersVariable, cel.MapType(cel.StringType, cel.StringType)),
		cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true), cel.OptionalTypes(),
		ext.Strings(ext.StringsVersion(2)), library.Regex(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
	)
})

// receiverProgram compiles an expression that gives one of the types, or anything if there are none.
func receiverProgram(text string, wants []*cel.Type) (program cel.Program, problem string) {
	env, err := receiverEnvironment()
	if err != nil {
		return nil, err.Error()
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, "does not compile: " + issues.Err().Error()
	}
	if output := checked.OutputType(); len(wants) > 0 && !slices.ContainsFunc(wants, output.IsExactType) {
		return nil, fmt.Sprintf("must give a %s, not %s", wants[0], output)
	}
	if listsMap(checked.NativeRep(), false) {
		return nil, mustNotListMap
	}
	if problem := receiverFunctionProblem(checked.NativeRep()); problem != "" {
		return nil, problem
	}
	program, err = env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxReceiverCost),
		cel.CostTracking(deepCosts{&library.CostEstimator{}}), cel.InterruptCheckFrequency(1))
	if err != nil {
		return nil, err.Error()
	}
	return program, ""
}

// Accepts reports whether a delivery triggers the job. The error names filterExpression. The evaluation stops when ctx ends.
func (r *Receiver) Accepts(ctx context.Context, d *Delivery) (bool, *field.Error) {
	if r.filter == nil {
		return true, nil
	}
	result, problem := r.filter.evaluate(ctx, d)
	if problem != nil {
		return false, problem
	}
	accepts, ok := result.(types.Bool)
	if !ok {
		return false, r.filter.invalid(fmt.Sprintf("gives a value of type %s, not bool", result.Type().TypeName()))
	}
	return bool(accepts), nil
}

// Input returns the JSON of the input that a delivery gives. It is an InputTooLargeError if that has more than
// v1alpha1.MaxInputBytes. Other errors are a field.Error that names inputExpression. The evaluation stops when ctx ends.
func (r *Receiver) Input(ctx context.Context, d *Delivery) ([]byte, error) {
	path := r.path.Child("inputExpression")
	if r.input == nil {
		text, ok := compact(d.text, v1alpha1.MaxInputBytes)
		if !ok {
			return nil, &InputTooLargeError{Field: path}
		}
		return text, nil
	}
	result, problem := r.input.evaluate(ctx, d)
	if problem != nil {
		return nil, problem
	}
	text, err := encode(result, v1alpha1.MaxInputBytes)
	switch {
	case isTooLarge(err):
		return nil, &InputTooLargeError{Field: path, Evaluated: true}
	case err != nil:
		return nil, r.input.invalid(err.Error())
	default:
		return text, nil
	}
}

// InputTooLargeError means that a delivery gives an input of more than v1alpha1.MaxInputBytes.
type InputTooLargeError struct {
	// Field is the inputExpression of the receiver.
	Field *field.Path
	// Evaluated is false if the receiver has no inputExpression.
	Evaluated bool
}

func (e *InputTooLargeError) Error() string {
	if e.Evaluated {
		return fmt.Sprintf("%s gives an input of more than %d bytes of JSON", e.Field, v1alpha1.MaxInputBytes)
	}
	return fmt.Sprintf("the body would be an input of more than %d bytes of JSON; set %s to take a part of it",
		v1alpha1.MaxInputBytes, e.Field)
}

func (e *receiverExpression) evaluate(ctx context.Context, d *Delivery) (ref.Val, *field.Error) {
	result, _, err := e.program.ContextEval(ctx, map[string]any{bodyVariable: d.body, headersVariable: d.headers})
	if err != nil {
		return nil, e.invalid("cannot be evaluated: " + err.Error())
	}
	return result, nil
}

func (e *receiverExpression) invalid(problem string) *field.Error {
	return field.Invalid(e.path, e.text, problem)
}
