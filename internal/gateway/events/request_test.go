// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The label selectors of a stream are bounded, whether they are in one parameter or in many.
func TestLabelSelectorsAreBounded(t *testing.T) {
	repeated := func(n int, text string) []string { return strings.Split(strings.Repeat(text+";", n-1)+text, ";") }
	for name, tc := range map[string]struct {
		values []string
		ok     bool
	}{
		"none":                   {nil, true},
		"many":                   {repeated(maxConditions, "a=b"), true},
		"too many":               {repeated(maxConditions+1, "a=b"), false},
		"too many in one":        {[]string{strings.Join(repeated(maxConditions+1, "!a"), ",")}, false},
		"too many in two":        {[]string{strings.Join(repeated(maxConditions, "a"), ","), "b"}, false},
		"many values":            {[]string{"a in (" + strings.Join(differentNames(maxValues), ",") + ")"}, true},
		"too many values":        {[]string{"a in (" + strings.Join(differentNames(maxValues+1), ",") + ")"}, false},
		"too many values in two": {[]string{"a notin (" + strings.Join(differentNames(maxValues), ",") + ")", "b=c"}, false},
	} {
		selectors, err := parseLabels(tc.values)
		mustEqual(t, name+" is accepted", err == nil, tc.ok)
		if tc.ok {
			mustEqual(t, name, len(selectors), len(tc.values))
		} else {
			mustEqual(t, name+" is a 400", apierrors.IsBadRequest(err), true)
		}
	}
}

// differentNames returns n different names.
func differentNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "v" + strings.Repeat("x", i%50) + string(rune('a'+i/50))
	}
	return names
}
