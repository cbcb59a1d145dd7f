// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"slices"
	"testing"
)

// A warning is for the caller of the request that it came with, and for nobody else.
func TestWarningsAreThoseOfOneRequest(t *testing.T) {
	ann, annsWarnings := collecting(t.Context())
	bob, bobsWarnings := collecting(t.Context())
	for ctx, texts := range map[context.Context][]string{ann: {"a", "b", "a", ""}, bob: {"c"}, t.Context(): {"d"}} {
		for _, text := range texts {
			Warnings{}.HandleWarningHeaderWithContext(ctx, 299, "-", text)
		}
		Warnings{}.HandleWarningHeaderWithContext(ctx, 199, "-", "of another code")
	}
	if got := annsWarnings.all(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("ann: %q", got)
	}
	if got := bobsWarnings.all(); !slices.Equal(got, []string{"c"}) {
		t.Errorf("bob: %q", got)
	}
}
