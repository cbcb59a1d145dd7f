// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey_test

import (
	"testing"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

func TestPolicyOf(t *testing.T) {
	for coalesce, want := range map[v1alpha1.CoalescePolicy]runkey.Policy{
		"":                    {Verdict: runkey.Refused},
		v1alpha1.CoalesceSkip: {Verdict: runkey.Absorbed, GivesWay: true},
		"Newer":               {Verdict: runkey.Refused},
	} {
		if got := runkey.PolicyOf(coalesce); got != want {
			t.Errorf("PolicyOf(%q) = %+v, want %+v", coalesce, got, want)
		}
	}
}

// The zero Verdict is Reserved. A policy without a verdict would give the key to each trigger.
func TestEveryPolicyHasAVerdict(t *testing.T) {
	for _, coalesce := range append(v1alpha1.CoalescePolicies, "") {
		if v := runkey.PolicyOf(coalesce).Verdict; v != runkey.Refused && v != runkey.Absorbed {
			t.Errorf("policy %q: verdict %d", coalesce, v)
		}
	}
}
