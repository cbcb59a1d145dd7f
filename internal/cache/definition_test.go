// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func TestFindDefinition(t *testing.T) {
	defined := func(description string) []client.Object {
		d := &v1alpha1.JobDefinition{Spec: v1alpha1.JobDefinitionSpec{Description: description}}
		d.Namespace, d.Name = wrappers.Namespace, "job"
		return []client.Object{d}
	}
	for name, tc := range map[string]struct {
		cached, live []client.Object
		// enough is the description that suffices; any is enough without it.
		enough, want string
	}{
		"in the cache":                {defined("old"), defined("new"), "", "old"},
		"not in the cache":            {nil, defined("new"), "", "new"},
		"the cache's suffices":        {defined("old"), defined("new"), "old", "old"},
		"the cache's does not":        {defined("old"), defined("new"), "new", "new"},
		"neither suffices":            {defined("old"), defined("older"), "new", "older"},
		"nowhere":                     {nil, nil, "", ""},
		"it is gone, the cache lags":  {defined("old"), nil, "new", ""},
		"it is gone, the old will do": {defined("old"), nil, "", "old"},
	} {
		cached, live := wrappers.NewStore(nil, tc.cached...), wrappers.NewStore(nil, tc.live...)
		var suffices func(*v1alpha1.JobDefinition) bool
		if tc.enough != "" {
			suffices = func(d *v1alpha1.JobDefinition) bool { return d.Spec.Description == tc.enough }
		}
		found, err := FindDefinition(t.Context(), cached, live, types.NamespacedName{Namespace: wrappers.Namespace, Name: "job"}, suffices)
		got := ""
		if found != nil {
			got = found.Spec.Description
		}
		if err != nil || got != tc.want {
			t.Errorf("%s: found %q, %v; want %q", name, got, err, tc.want)
		}
	}
}

// A definition that cannot be read is not one that does not exist.
func TestFindDefinitionThatCannotBeRead(t *testing.T) {
	down := errors.New("down")
	for name, fails := range map[string]int{"cached": 0, "live": 1} {
		readers := []*wrappers.Store{wrappers.NewStore(nil), wrappers.NewStore(nil)}
		readers[fails].Read = func(client.ObjectKey, client.Object) error { return down }
		found, err := FindDefinition(t.Context(), readers[0], readers[1], types.NamespacedName{Name: "job"}, nil)
		if found != nil || !errors.Is(err, down) {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
}
