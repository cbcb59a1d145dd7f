// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"strings"
	"testing"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestLevels(t *testing.T) {
	for text, want := range map[string]int{
		``:                      0,
		`5`:                     0,
		`"[[{"`:                 0,
		`[]`:                    1,
		`{"a":1}`:               1,
		`[1,[2],[[3]],4]`:       3,
		`{"a":{"b":[{}]}}`:      4,
		`["\"[[[", {"[\\": 1}]`: 2,
		strings.Repeat(`[`, 20000) + strings.Repeat(`]`, 20000): 20000,
	} {
		if got := v1alpha1.Levels([]byte(text)); got != want {
			t.Errorf("Levels(%.40s) = %d, want %d", text, got, want)
		}
	}
}
