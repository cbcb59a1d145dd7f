// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"github.com/google/cel-go/checker"
	"k8s.io/apimachinery/pkg/util/validation"
	apiservercel "k8s.io/apiserver/pkg/cel"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// maxLabels is how many labels an expression may expect. With more, it is stopped when it is evaluated.
const maxLabels = 256

// sizes estimates how large the parts of input and labels are. The schema bounds the parts of an input, and
// v1alpha1.MaxInputBytes bounds each of them.
type sizes struct {
	// input is nil if nothing is known of the input.
	input *apiservercel.DeclType
}

// EstimateSize returns the bounds of a part of input or labels, and nil for anything else.
func (s sizes) EstimateSize(element checker.AstNode) *checker.SizeEstimate {
	path := element.Path()
	switch {
	case len(path) == 0:
		return nil
	case path[0] == labelsVariable:
		return upTo(labelSize(path[1:]))
	case path[0] != inputVariable:
		return nil
	}
	part := s.input
	for _, name := range path[1:] {
		if part = partOf(part, name); part == nil {
			break
		}
	}
	if part == nil {
		return upTo(v1alpha1.MaxInputBytes)
	}
	return upTo(int(min(max(part.MaxElements, 0), v1alpha1.MaxInputBytes)))
}

// EstimateCallCost leaves the costs of functions to the API server's estimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

func labelSize(path []string) int {
	switch {
	case len(path) == 0:
		return maxLabels
	case path[0] == "@keys":
		return validation.DNS1123SubdomainMaxLength + 1 + validation.LabelValueMaxLength
	default:
		return validation.LabelValueMaxLength
	}
}

func partOf(of *apiservercel.DeclType, name string) *apiservercel.DeclType {
	switch {
	case of == nil:
		return nil
	case name == "@items" || name == "@values":
		return of.ElemType
	case name == "@keys":
		return of.KeyType
	}
	if field, ok := of.Fields[name]; ok {
		return field.Type
	}
	return nil
}

func upTo(size int) *checker.SizeEstimate { return &checker.SizeEstimate{Max: uint64(size)} }
