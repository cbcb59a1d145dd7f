// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
)

// functionProblem returns why an expression must not have one of its calls; empty if it may have all. The cost that CEL counts
// leaves out what these calls may take: a pattern of 64 KiB takes seconds and 100 MB to compile, and a quantity with a large
// exponent takes minutes to compare.
func functionProblem(checked *ast.AST) (problem string) {
	patterns := 0
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		switch call := e.AsCall(); call.FunctionName() {
		case "matches", "find", "findAll":
			pattern, ok := patternOf(call)
			if !ok {
				problem = "must have a text in quotes as the pattern of " + call.FunctionName()
			}
			patterns += instructions(pattern)
		case "quantity", "isQuantity":
			problem = "must not call " + call.FunctionName()
		}
	}))
	if problem == "" && patterns > maxInstructions {
		return fmt.Sprintf("has patterns that are too large: they have %d instructions, more than %d", patterns, maxInstructions)
	}
	return problem
}

// patternOf returns the pattern of a call; ok is false if it is not a literal.
func patternOf(call ast.CallExpr) (pattern string, ok bool) {
	arg := call.Args()[0]
	if !call.IsMemberFunction() { // matches(text, pattern)
		arg = call.Args()[1]
	}
	if arg.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := arg.AsLiteral().(types.String)
	return string(text), ok
}
