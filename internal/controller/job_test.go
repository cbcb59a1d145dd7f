package controller

import (
	"testing"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestLeaseDuration(t *testing.T) {
	for name, tc := range map[string]struct {
		run  *v1alpha1.JobRun
		want time.Duration
	}{
		"a Job's lease ends with the Job":      {made("a").Leased(1, "5").Obj(), 0},
		"a Job asked for heartbeats":           {made("a").LeaseSeconds(5).Leased(1, "5").Obj(), 5 * time.Second},
		"a worker's lease":                     {makeRun("a").Leased(1, "5").Obj(), 30 * time.Second},
		"a worker's lease as long as the spec": {makeRun("a").LeaseSeconds(7).Leased(1, "5").Obj(), 7 * time.Second},
		"a worker's lease as long as it says":  {workerLease(9), 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := leaseDuration(tc.run); got != tc.want {
				t.Errorf("leaseDuration() = %s, want %s", got, tc.want)
			}
		})
	}
}

func workerLease(seconds int32) *v1alpha1.JobRun {
	run := makeRun("a").LeaseSeconds(7).Leased(1, "5").Obj()
	run.Status.Lease.DurationSeconds = seconds
	return run
}
