// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

const (
	// maxReceiverInstructions bounds the patterns of one expression of a receiver, which may go through many texts.
	maxReceiverInstructions = 1000
	// maxReplacement bounds the texts that take the place of others, so that replace makes no text that is much larger.
	maxReplacement = 64
)

// receiverFunctions are what expressions of receivers may call. Each takes a time and a memory that grow with its arguments no faster
// than its cost. CEL counts the cost of a call after the call, and nothing bounds the parts of a body before.
var receiverFunctions = sets.New(
	operators.Conditional, operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Equals, operators.NotEquals,
	operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.Add, operators.Subtract,
	operators.Multiply, operators.Divide, operators.Modulo, operators.Negate, operators.Index, operators.OptIndex,
	operators.OptSelect, operators.In, operators.NotStrictlyFalse,
	"size", "type", "dyn", "string", "int", "uint", "double", "bool", "bytes", "duration", "timestamp",
	"contains", "startsWith", "endsWith", "matches", "find", "lowerAscii", "upperAscii", "trim", "substring", "split", "replace",
	"optional.of", "optional.none", "optional.ofNonZeroValue", "hasValue", "value", "or", "orValue",
	"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds",
	"getMilliseconds",
)

// receiverFunctionProblem returns why an expression of a receiver must not have one of its calls; empty if it may have all.
func receiverFunctionProblem(checked *ast.AST) (problem string) {
	patterns := 0
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		switch name := call.FunctionName(); {
		case !receiverFunctions.Has(name):
			problem = "must not call " + name
		case name == "matches" || name == "find":
			pattern, ok := patternOf(call)
			if !ok {
				problem = "must have a text in quotes as the pattern of " + name
			}
			patterns += instructions(pattern)
		case name == "replace" && !replacesLittle(call):
			problem = fmt.Sprintf("must have texts in quotes as the arguments of replace: one that is not empty, and one of at most %d bytes", maxReplacement)
		}
	}))
	if problem == "" && patterns > maxReceiverInstructions {
		return fmt.Sprintf("has patterns that are too large: they have %d instructions, more than %d", patterns, maxReceiverInstructions)
	}
	return problem
}

// replacesLittle reports whether a call of replace makes a text that is at most maxReplacement times larger.
func replacesLittle(call ast.CallExpr) bool {
	from, to := call.Args()[0], call.Args()[1]
	if from.Kind() != ast.LiteralKind || to.Kind() != ast.LiteralKind {
		return false
	}
	old, isText := from.AsLiteral().(types.String)
	replacement, _ := to.AsLiteral().(types.String)
	return isText && old != "" && len(replacement) <= maxReplacement
}
