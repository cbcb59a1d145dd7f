// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey_test

import (
	"testing"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func TestGrant(t *testing.T) {
	waiting := wrappers.MakeJobRun("a").Key("k").Created().Pending
	for name, tc := range map[string]struct {
		key  *v1alpha1.RunKeySpec
		run  *wrappers.JobRunWrapper
		want transition
	}{
		"no key":                          {run: waiting()},
		"another run waits":               {key: wrappers.MakeRunKey("k").Pending("b").Row(), run: waiting()},
		"another run of its name waits":   {key: wrappers.MakeRunKey("k").PendingAs("a", "earlier").Row(), run: waiting()},
		"it waits, and another executes":  {key: wrappers.MakeRunKey("k").Pending("a").Leased("b", 1, "5").Row(), run: waiting()},
		"another executes, and one waits": {key: wrappers.MakeRunKey("k").Pending("c").Leased("b", 1, "5").Row(), run: waiting()},
		"it waits": {
			key: wrappers.MakeRunKey("k").Pending("a").LastGeneration(2).Row(), run: waiting(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 3, "10").Row(), true},
		},
		"a claim was granted and not stored": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(), run: waiting(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 1, "10").Row(), true},
		},
		"a claim was granted and not stored, and another run waits since": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Pending("b").Row(), run: waiting(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 1, "10").Pending("b").Row(), true},
		},
		"a claim was granted and is being taken back": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(), run: wrappers.MakeJobRun("a").Key("k").Created().Leased(1, "5").Pending(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.check(t, tc.key, func() (*v1alpha1.RunKeySpec, bool) { return runkey.Grant(tc.key, "10", tc.run.Obj()) })
		})
	}
}
