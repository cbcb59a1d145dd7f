// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// Grant decides on the stored key, never on the cached one.
func TestGrant(t *testing.T) {
	waits := func() *wrappers.RunKeyWrapper { return wrappers.MakeRunKey("k").ResourceVersion("10").Pending("a") }
	executes := wrappers.MakeRunKey("k").ResourceVersion("11").Leased("b", 1, "5").Pending("a")
	for name, tc := range map[string]struct {
		stored     *wrappers.RunKeyWrapper
		generation int64
		dryRun     bool
		want       string
		leased     *v1alpha1.LeasedRun
		writes     int
	}{
		"it waits":             {stored: waits(), generation: 1, leased: waits().Leased("a", 1, "10").Row().Leased, writes: 1},
		"a dry run":            {stored: waits(), generation: 1, dryRun: true},
		"another generation":   {stored: waits(), generation: 2, want: "the lease of run a has generation 1: read the run again"},
		"another run executes": {stored: executes, generation: 1, want: "run b executes for the key of run a", leased: executes.Row().Leased},
		"another run waits":    {stored: wrappers.MakeRunKey("k").ResourceVersion("11").Pending("b"), generation: 1, want: "run a is not the one that waits for its key"},
	} {
		t.Run(name, func(t *testing.T) {
			store := wrappers.NewStore(nil, tc.stored.Obj())
			lagging := wrappers.NewStore(nil, waits().Obj())
			run := wrappers.MakeJobRun("a").Key("k").Created().Pending().Obj()
			_, err := newStore(store, lagging).Grant(context.Background(), run, tc.generation, tc.dryRun)
			var refused *keystore.NotGrantedError
			switch {
			case tc.want == "" && err != nil:
				t.Fatal(err)
			case tc.want != "" && (!errors.As(err, &refused) || err.Error() != tc.want):
				t.Errorf("got %v, want %s", err, tc.want)
			}
			got := row(t, store, keyName).Leased
			if got != nil && tc.leased != nil {
				got = got.DeepCopy()
				got.FromVersion = tc.leased.FromVersion // the store's own
			}
			if diff := cmp.Diff(tc.leased, got); diff != "" {
				t.Errorf("leased (-want +got):\n%s", diff)
			}
			if n := len(store.Writes()); n != tc.writes {
				t.Errorf("%d writes, want %d", n, tc.writes)
			}
		})
	}
}
