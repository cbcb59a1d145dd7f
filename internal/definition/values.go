// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// sorted returns an untyped JSON value as a value of CEL whose maps have an order.
func sorted(value any) ref.Val { return new(sortedValues).NativeToValue(value) }

func labelValues(labels map[string]string) ref.Val {
	keys := sync.OnceValue(func() []string { return slices.Sorted(maps.Keys(labels)) })
	return sortedMap{types.NewStringStringMap(types.DefaultTypeAdapter, labels), keys}
}

// sortedValues makes each map of one value sorted, at all levels.
type sortedValues struct {
	mu sync.Mutex
	// keys has the sorted keys of each map that was iterated, by the address of the map. CEL asks for a value of a map at each
	// access, so the values cannot keep them.
	keys map[uintptr][]string
}

// keysOf returns the sorted keys of a map. It sorts each map once, because CEL counts no cost for it.
func (s *sortedValues) keysOf(value map[string]any) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	address := reflect.ValueOf(value).Pointer()
	keys, known := s.keys[address]
	if !known {
		if s.keys == nil {
			s.keys = map[uintptr][]string{}
		}
		keys = slices.Sorted(maps.Keys(value))
		s.keys[address] = keys
	}
	return keys
}

// NativeToValue returns a value of CEL.
func (s *sortedValues) NativeToValue(value any) ref.Val {
	switch value := value.(type) {
	case map[string]any:
		return sortedMap{types.NewStringInterfaceMap(s, value), func() []string { return s.keysOf(value) }}
	case []any:
		return types.NewDynamicList(s, value)
	case string:
		if len(value) > maxText {
			return longText{}
		}
		return types.String(value)
	default:
		return types.DefaultTypeAdapter.NativeToValue(value)
	}
}

// maxText bounds the texts that functions see. The input of a trigger has no longer one.
const maxText = v1alpha1.MaxInputBytes

// longText stands for a text of more than maxText bytes. No function takes it, and no input has room for it. Some functions would
// take minutes or gigabytes for such a text before their cost is counted.
type longText struct{}

var longTextType = types.NewOpaqueType("text of more than 64 KiB")

// ConvertToNative returns an error.
func (longText) ConvertToNative(reflect.Type) (any, error) { return nil, errTooLarge }

// ConvertToType returns an error.
func (longText) ConvertToType(ref.Type) ref.Val { return types.WrapErr(errTooLarge) }

// Equal returns false: two such texts are not compared.
func (longText) Equal(ref.Val) ref.Val { return types.False }

// Type returns a type that no function takes.
func (longText) Type() ref.Type { return longTextType }

// Value returns nothing.
func (longText) Value() any { return nil }

// sortedMap is a map whose iterator goes through the keys in order.
type sortedMap struct {
	traits.Mapper
	keys func() []string
}

// Iterator returns an iterator over the sorted keys. Only an iteration sorts them, and the first one alone.
func (m sortedMap) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, m.keys()).Iterator()
}
