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

func TestHasOutcome(t *testing.T) {
	for name, tc := range map[string]struct {
		run  *v1alpha1.JobRun
		want bool
	}{
		"not known":                 {wrappers.MakeJobRun("a").Obj(), false},
		"pending":                   {wrappers.MakeJobRun("a").Pending().Obj(), false},
		"leased":                    {wrappers.MakeJobRun("a").Leased(1, "").Obj(), false},
		"completed":                 {wrappers.MakeJobRun("a").Ended(v1alpha1.PhaseCompleted).Obj(), true},
		"failed":                    {wrappers.MakeJobRun("a").Ended(v1alpha1.PhaseFailed).Obj(), true},
		"cancelled":                 {wrappers.MakeJobRun("a").Ended(v1alpha1.PhaseCancelled).Obj(), true},
		"completed by a bare word":  {wrappers.MakeJobRun("a").Phase(v1alpha1.PhaseCompleted).Obj(), true},
		"a bound receipt":           {wrappers.MakeJobRun("r").CoalescedBy("a", "1").BoundTo("a").Obj(), false},
		"a receipt with an outcome": {wrappers.MakeJobRun("r").CoalescedBy("a", "1").BoundTo("a").Settled().Obj(), true},
		"a repeated delivery":       {wrappers.MakeJobRun("r").DeliveredAs("a").BoundTo("a").Obj(), false},
		"a repeated delivery, over": {wrappers.MakeJobRun("r").DeliveredAs("a").BoundTo("a").Settled().Obj(), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := runkey.HasOutcome(tc.run); got != tc.want {
				t.Errorf("HasOutcome() = %t, want %t", got, tc.want)
			}
		})
	}
}
