// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"testing"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Without a store of all namespaces, the objects are listed anew each time.
func TestListedShowsWhatTheClientReads(t *testing.T) {
	b := newBench(makeRun("a").Obj(), makeKey("k").Obj())
	runs, err := newListed(t.Context(), b.Client, &v1alpha1.JobRun{})
	if err != nil {
		t.Fatal(err)
	}
	names := func() (names []string) {
		for _, object := range runs.List() {
			names = append(names, object.(*v1alpha1.JobRun).Name)
		}
		return names
	}
	if got := names(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("listed %q", got)
	}
	second := makeRun("b").Obj()
	second.ResourceVersion = ""
	if err := b.Client.Create(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if got := names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("listed %q", got)
	}
}
