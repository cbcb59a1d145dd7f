// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// The name is read live only if the cache shows a JobRun of that name.
func TestCheckName(t *testing.T) {
	run := wrappers.MakeJobRun("b").Created()
	unreadable := errors.New("connection refused")
	for name, tc := range map[string]struct {
		cached, stored         []client.Object
		cachedFails, liveFails error
		want                   string
		liveReads              int
	}{
		"no run":                        {},
		"a run":                         {cached: objects(run.Obj()), stored: objects(run.Obj()), want: `jobrun "b" already exists`, liveReads: 1},
		"a run that only the cache has": {cached: objects(run.Obj()), liveReads: 1},
		"a run that the cache lacks":    {stored: objects(run.Obj())},
		"a cache that cannot be read":   {cachedFails: unreadable, want: "read JobRun default/b: connection refused"},
		"an API server that cannot be":  {cached: objects(run.Obj()), liveFails: unreadable, want: "read JobRun default/b: connection refused", liveReads: 1},
		"one that is not asked":         {liveFails: unreadable},
	} {
		t.Run(name, func(t *testing.T) {
			cached, live := wrappers.NewStore(nil, copies(tc.cached)...), wrappers.NewStore(nil, copies(tc.stored)...)
			cached.Read = func(client.ObjectKey, client.Object) error { return tc.cachedFails }
			live.Read = func(client.ObjectKey, client.Object) error { return tc.liveFails }
			err := newStore(live, cached).CheckName(t.Context(), client.ObjectKeyFromObject(run.Obj()))
			var got string
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if live.Reads() != tc.liveReads {
				t.Errorf("%d live reads, want %d", live.Reads(), tc.liveReads)
			}
		})
	}
}
