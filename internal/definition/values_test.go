// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"slices"
	"testing"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/traits"
)

// A map is sorted once, however often an expression goes through it.
func TestAMapIsSortedOnce(t *testing.T) {
	body := sorted(map[string]any{"a": map[string]any{"c": 1, "b": 2}, "d": map[string]any{}, "e": map[string]any{"f": 1}}).(traits.Mapper)
	field := func(name string) []string {
		value, _ := body.Find(types.String(name))
		return value.(sortedMap).keys()
	}
	first, again := field("a"), field("a")
	if !slices.Equal(first, []string{"b", "c"}) || &first[0] != &again[0] {
		t.Errorf("%v and %v", first, again)
	}
	if len(field("d")) > 0 || !slices.Equal(field("e"), []string{"f"}) {
		t.Errorf("%v and %v", field("d"), field("e"))
	}
	labels := labelValues(map[string]string{"b": "", "a": ""}).(sortedMap)
	if first, again = labels.keys(), labels.keys(); !slices.Equal(first, []string{"a", "b"}) || &first[0] != &again[0] {
		t.Errorf("%v and %v", first, again)
	}
}
