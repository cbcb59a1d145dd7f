// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey_test

import (
	"testing"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// Runs contend where both the job and the key are the same, whatever their names
// and labels.
func TestHome(t *testing.T) {
	for name, tc := range map[string]struct {
		run  *v1alpha1.JobRun
		want string
	}{
		"a key":                        {wrappers.MakeJobRun("a").Job("sync-users").Key("org_acme").Obj(), "c-4jk6d2f37po4cctt5fw4u2qm4mpwl6g4"},
		"another run of the key":       {wrappers.MakeJobRun("b").Job("sync-users").Key("org_acme").Label(v1alpha1.LabelKey, "c-x").Obj(), "c-4jk6d2f37po4cctt5fw4u2qm4mpwl6g4"},
		"no key":                       {wrappers.MakeJobRun("a").Obj(), "run/a"},
		"an idempotency key alone":     {wrappers.MakeJobRun("a").IdempotencyKey("i").Obj(), "run/a"},
		"a run that is named like one": {wrappers.MakeJobRun("c-4jk6d2f37po4cctt5fw4u2qm4mpwl6g4").Obj(), "run/c-4jk6d2f37po4cctt5fw4u2qm4mpwl6g4"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := runkey.Home(tc.run); got != tc.want {
				t.Errorf("Home() = %q, want %q", got, tc.want)
			}
		})
	}
}
