// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/runkey"
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

// A run exists if the cache or a live read shows its token under its name.
func TestExists(t *testing.T) {
	run, later := wrappers.MakeJobRun("a").Created(), wrappers.MakeJobRun("a").Created().Token("later")
	unreadable := errors.New("connection refused")
	for name, tc := range map[string]struct {
		cached, stored         []client.Object
		cachedFails, liveFails error
		want                   bool
		err                    string
		liveReads              int
	}{
		"no run":                      {liveReads: 1},
		"a run":                       {cached: objects(run.Obj()), stored: objects(run.Obj()), want: true},
		"a run that the cache lacks":  {stored: objects(run.Obj()), want: true, liveReads: 1},
		"a later run of that name":    {cached: objects(later.Obj()), stored: objects(later.Obj()), liveReads: 1},
		"a run that was replaced":     {cached: objects(later.Obj()), stored: objects(run.Obj()), want: true, liveReads: 1},
		"a cache that cannot be read": {cachedFails: unreadable, err: "read JobRun default/a: connection refused"},
		"an API server that cannot be": {
			liveFails: unreadable, err: "read JobRun default/a: connection refused", liveReads: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cached, live := wrappers.NewStore(nil, copies(tc.cached)...), wrappers.NewStore(nil, copies(tc.stored)...)
			cached.Read = func(client.ObjectKey, client.Object) error { return tc.cachedFails }
			live.Read = func(client.ObjectKey, client.Object) error { return tc.liveFails }
			got, err := newStore(live, cached).Exists(t.Context(), wrappers.Namespace, runkey.IdentityOf(run.Obj()))
			if text := fmt.Sprint(err); got != tc.want || err != nil && text != tc.err || err == nil && tc.err != "" {
				t.Errorf("exists %t, error %v, want %t and %q", got, err, tc.want, tc.err)
			}
			if live.Reads() != tc.liveReads {
				t.Errorf("%d live reads, want %d", live.Reads(), tc.liveReads)
			}
		})
	}
}

// Triggers that are refused at the same time share a live read.
func TestExistsSharesItsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := wrappers.NewStore(nil)
		live.Read = func(client.ObjectKey, client.Object) error {
			time.Sleep(time.Second)
			return nil
		}
		store := newStore(live, wrappers.NewStore(nil))
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if exists, err := store.Exists(t.Context(), wrappers.Namespace, id("a")); exists || err != nil {
					t.Errorf("exists %t, error %v", exists, err)
				}
			})
		}
		all.Wait()
		if live.Reads() > 2 {
			t.Errorf("%d live reads, want at most 2", live.Reads())
		}
	})
}
