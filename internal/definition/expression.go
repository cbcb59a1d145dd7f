// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	celcommon "k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

const (
	inputVariable  = "input"
	labelsVariable = "labels"
	// maxCost bounds an expression, as estimated and as evaluated, in CEL's units: some 50 ms. A trigger waits for it.
	maxCost = 100_000
	// maxKeyLength bounds a key, in characters, as the schema of JobRun does.
	maxKeyLength = 256
)

// expression is a compiled expression that gives a key.
type expression struct {
	// name is the field of the JobDefinition.
	name    string
	program cel.Program
	// schema types the input. Without one, it is dynamic.
	schema *inputSchema
}

// key evaluates the expression. A problem says why there is no key.
func (e *expression) key(input any, labels map[string]string) (key, problem string) {
	if e.schema != nil {
		input = celcommon.UnstructuredToVal(input, &model.Structural{Structural: e.schema.ofInput()})
	}
	result, _, err := e.program.Eval(map[string]any{inputVariable: input, labelsVariable: labelValues(labels)})
	if err != nil {
		return "", "cannot be evaluated: " + err.Error()
	}
	return keyOf(result)
}

func keyOf(result ref.Val) (key, problem string) {
	text, ok := result.(types.String)
	if !ok {
		return "", fmt.Sprintf("gives a value of type %s, not string", result.Type().TypeName())
	}
	if problem := KeyProblem(string(text)); problem != "" {
		return "", "gives " + problem
	}
	return string(text), ""
}

// KeyProblem returns what makes a text no key, for example "an empty text"; "" if it is a key. The schema of JobRun has the
// same bounds.
func KeyProblem(key string) string {
	switch length := utf8.RuneCountInString(key); {
	case key == "":
		return "an empty text"
	case length > maxKeyLength:
		return fmt.Sprintf("%d characters, more than %d", length, maxKeyLength)
	case !utf8.ValidString(key):
		return "a text that is not UTF-8"
	}
	for _, c := range key {
		if c < 0x20 || 0x7f <= c && c < 0xa0 {
			return fmt.Sprintf("a control character, %U", c)
		}
	}
	return ""
}

// says returns a text about the expression of a definition.
func (e *expression) says(definition, what string) string {
	return fmt.Sprintf("the %s of JobDefinition %s %s", e.name, definition, what)
}

// compiler compiles the expressions of one definition.
type compiler struct {
	schema *inputSchema
	errs   field.ErrorList

	env       *cel.Env
	estimator *library.CostEstimator
}

// compile returns nil without a text, and if there is an error.
func (c *compiler) compile(name, text string) *expression {
	if text == "" {
		return nil
	}
	program, problem := c.program(text)
	if problem != "" {
		c.errs = append(c.errs, field.Invalid(specPath.Child(name), text, problem))
		return nil
	}
	return &expression{name, program, c.schema}
}

func (c *compiler) program(text string) (program cel.Program, problem string) {
	if err := c.prepare(); err != nil {
		return nil, err.Error()
	}
	checked, issues := c.env.Compile(text)
	if issues.Err() != nil {
		return nil, "does not compile: " + issues.Err().Error()
	}
	if output := checked.OutputType(); !output.IsExactType(cel.StringType) && !output.IsExactType(cel.DynType) {
		return nil, fmt.Sprintf("must give a string, not %s", output)
	}
	if listsMap(checked.NativeRep(), c.schema != nil) {
		return nil, mustNotListMap
	}
	if problem := functionProblem(checked.NativeRep()); problem != "" {
		return nil, problem
	}
	cost, err := c.env.EstimateCost(checked, c.estimator)
	if err != nil {
		return nil, "its cost cannot be estimated: " + err.Error()
	}
	if cost.Max > maxCost {
		return nil, fmt.Sprintf("costs too much: up to %d units, more than %d; bound what it uses with maxLength, maxItems and maxProperties",
			cost.Max, maxCost)
	}
	program, err = c.env.Program(checked, cel.CostLimit(maxCost), cel.CostTracking(c.estimator), cel.InterruptCheckFrequency(celconfig.CheckFrequency))
	if err != nil {
		return nil, err.Error()
	}
	return program, ""
}

// prepare makes the environment that types input and labels.
func (c *compiler) prepare() error {
	if c.env != nil {
		return nil
	}
	inputType, declared := cel.DynType, []*apiservercel.DeclType(nil)
	var bounds *apiservercel.DeclType
	if c.schema != nil {
		bounds = celcommon.SchemaDeclType(&model.Structural{Structural: c.schema.ofInput()}, false)
	}
	if bounds != nil {
		bounds = bounds.MaybeAssignTypeName("Input")
		inputType, declared = bounds.CelType(), []*apiservercel.DeclType{bounds}
	}
	set, err := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions: []cel.EnvOption{
			cel.Variable(inputVariable, inputType), cel.Variable(labelsVariable, cel.MapType(cel.StringType, cel.StringType)),
		},
		DeclTypes: declared,
	})
	if err != nil {
		return fmt.Errorf("make the CEL environment: %w", err)
	}
	c.env, c.estimator = set.NewExpressionsEnv(), &library.CostEstimator{SizeEstimator: sizes{bounds}}
	return nil
}

const mustNotListMap = "must not make a list of a map or an object, because these have no order"

// listsMap reports whether an expression may build a list in the order of a map. That order differs from one evaluation to the
// next, and so would the result. The maps of an untyped value are sorted. typed means that values of unknown types are not.
func listsMap(checked *ast.AST, typed bool) bool {
	found := false
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.ComprehensionKind || e.AsComprehension().AccuInit().Kind() != ast.ListKind {
			return
		}
		ranged := checked.GetType(e.AsComprehension().IterRange().ID())
		found = found || ranged.Kind() != types.ListKind && (typed || ranged.Kind() != types.DynKind)
	}))
	return found
}
