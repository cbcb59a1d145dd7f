// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apiserver/pkg/cel/library"
)

// deepCosts counts what CEL leaves out of the cost of an evaluation. A comparison of lists or objects looks at all that is inside
// them: without this, an expression could compare a body of megabytes with itself a million times. What split and replace return may
// be much larger than what they are given.
type deepCosts struct{ *library.CostEstimator }

// CallCost returns the cost of a call, or nil if CEL knows it.
func (c deepCosts) CallCost(function, overload string, args []ref.Val, result ref.Val) *uint64 {
	switch function {
	case operators.Equals, operators.NotEquals:
		if isAggregate(args[0]) && isAggregate(args[1]) {
			cost := min(deepSize(args[0]), deepSize(args[1]))
			return &cost
		}
	case "split": // Each part takes more memory than a character.
		if list, ok := result.(traits.Lister); ok {
			length, _ := list.Size().(types.Int)
			cost := textCost(args[0]) + uint64(max(length, 0))
			return &cost
		}
	case "replace":
		cost := textCost(args[0]) + textCost(result)
		return &cost
	case operators.In:
		if list, ok := args[1].(traits.Lister); ok && isAggregate(args[0]) {
			length, _ := list.Size().(types.Int)
			cost := deepSize(args[0]) * uint64(max(length, 1))
			return &cost
		}
	}
	return c.CostEstimator.CallCost(function, overload, args, result)
}

func isAggregate(value ref.Val) bool {
	switch value.(type) {
	case traits.Lister, traits.Mapper:
		return true
	default:
		return false
	}
}

// textCost is the cost to go through a text.
func textCost(value ref.Val) uint64 {
	text, _ := value.(types.String)
	return 1 + uint64(len(text))/10
}

// deepSize returns how many values are inside a value, itself included. A text counts as one for each ten bytes, as in CEL.
func deepSize(value ref.Val) uint64 {
	size := uint64(1)
	switch value := value.(type) {
	case types.String:
		return textCost(value)
	case traits.Lister:
		for it := value.Iterator(); it.HasNext() == types.True; {
			size += deepSize(it.Next())
		}
	case traits.Mapper:
		for it := value.Iterator(); it.HasNext() == types.True; {
			size += 1 + deepSize(value.Get(it.Next()))
		}
	}
	return size
}
