package controller

import (
	"testing"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// What a worker reports is completed once, by whoever reads it.
func TestDecideReport(t *testing.T) {
	worker := func() *wrappers.JobRunWrapper { return makeRun("a").Key("k").Created().Leased(1, "5").Holder("worker") }
	for name, tc := range map[string]struct {
		run  *wrappers.JobRunWrapper
		want string
	}{
		"it executes":         {worker(), ""},
		"completed":           {worker().Ended(v1alpha1.PhaseCompleted), `report: WriteStatus(a, Completed, Complete=Reported); Emit(RunCompleted a)`},
		"failed":              {worker().Ended(v1alpha1.PhaseFailed).Error("no disk"), `report: WriteStatus(a, Failed, Failed=Reported); Emit(RunFailed a)`},
		"it is complete":      {worker().Ended(v1alpha1.PhaseCompleted).Reported(), ""},
		"a receipt is no run": {answered("r", "a", "4").BoundTo("a").Settled(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := format(decideReport(tc.run.Obj(), now)); got != tc.want {
				t.Errorf("plan %q, want %q", got, tc.want)
			}
		})
	}
}
