// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"maps"
	"slices"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// sorted returns an untyped JSON value as a value of CEL whose maps have an order.
func sorted(value any) ref.Val { return sortedValues{}.NativeToValue(value) }

func labelValues(labels map[string]string) ref.Val {
	return sortedMap{types.NewStringStringMap(types.DefaultTypeAdapter, labels), slices.Sorted(maps.Keys(labels))}
}

// sortedValues makes each map sorted, at all levels.
type sortedValues struct{}

// NativeToValue returns a value of CEL.
func (s sortedValues) NativeToValue(value any) ref.Val {
	switch value := value.(type) {
	case map[string]any:
		return sortedMap{types.NewStringInterfaceMap(s, value), slices.Sorted(maps.Keys(value))}
	case []any:
		return types.NewDynamicList(s, value)
	default:
		return types.DefaultTypeAdapter.NativeToValue(value)
	}
}

// sortedMap is a map whose iterator goes through the keys in order.
type sortedMap struct {
	traits.Mapper
	keys []string
}

// Iterator returns an iterator over the sorted keys.
func (m sortedMap) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, m.keys).Iterator()
}
