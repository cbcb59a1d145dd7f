// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"testing"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func TestDecideJobRetention(t *testing.T) {
	leased := func() *wrappers.JobRunWrapper { return made("a").Leased(1, "5") }
	ended := leased().Ended(v1alpha1.PhaseCompleted).Obj()
	finished := func() *wrappers.JobWrapper { return wrappers.MakeJob(ended, 1).Complete() }
	withTTL := func(seconds string) *wrappers.JobWrapper {
		job := finished()
		job.Annotations[v1alpha1.AnnotationJobTTL] = seconds
		return job
	}
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		job       *wrappers.JobWrapper
		run       *v1alpha1.JobRun
		seconds   int
		ttl       time.Duration
		unlocked  time.Duration
		want      string
		wantAfter time.Duration
	}{
		"kept without a TTL":                      {job: finished(), seconds: 1e6, unlocked: day},
		"kept until a later sweep":                {job: finished(), ttl: day, seconds: 60, unlocked: day},
		"kept until its time":                     {job: finished(), ttl: day, seconds: 86400 - 40, wantAfter: time.Minute},
		"its time is over":                        {job: finished(), ttl: day, seconds: 86400, unlocked: time.Minute, want: "expire-job: DeleteJob(a-1)"},
		"its own time is over":                    {job: withTTL("3600"), ttl: day, seconds: 3600, unlocked: time.Minute, want: "expire-job: DeleteJob(a-1)"},
		"its own time is longer":                  {job: withTTL("90000"), ttl: day, seconds: 86400, unlocked: time.Minute},
		"its own time, while the flag says never": {job: withTTL("3600"), seconds: 3600, unlocked: time.Minute, want: "expire-job: DeleteJob(a-1)"},
		"a TTL of 0 waits for the lock":           {job: withTTL("0"), seconds: 1, unlocked: 20 * time.Second, wantAfter: 40 * time.Second},
		"the lock begins when the lease is over":  {job: withTTL("0"), seconds: 1e6, wantAfter: time.Minute},
		"the lock is over":                        {job: withTTL("0"), seconds: 61, unlocked: time.Minute, want: "expire-job: DeleteJob(a-1)"},
		"a TTL that a user made unreadable":       {job: withTTL("soon"), ttl: day, seconds: 3600, unlocked: day},
		"a Job that is unfinished":                {job: wrappers.MakeJob(ended, 1), ttl: day, seconds: 1e6, unlocked: day},
		"a Job that is being deleted":             {job: finished().Deleting(), ttl: day, seconds: 1e6, unlocked: day},
		"a run whose outcome is not stored":       {job: withTTL("0"), run: leased().Obj(), seconds: 1e6, unlocked: day},
		"a run that waits again":                  {job: withTTL("0"), run: made("a").Pending().Obj(), seconds: 1e6, unlocked: day},
		"a run that is being deleted":             {job: withTTL("0"), run: leased().Ended(v1alpha1.PhaseFailed).Deleting().Obj(), seconds: 1e6, unlocked: day},
	} {
		t.Run(name, func(t *testing.T) {
			run := tc.run
			if run == nil {
				run = ended
			}
			plan := DecideJobRetention(JobRetention{
				Now: wrappers.At(tc.seconds), Job: tc.job.Obj(), Run: run, TTL: tc.ttl, Unlocked: tc.unlocked, Sweep: time.Minute,
			})
			if got := plan.String(); got != tc.want {
				t.Errorf("plan %q, want %q", got, tc.want)
			}
			if plan.After != tc.wantAfter {
				t.Errorf("look again after %s, want %s", plan.After, tc.wantAfter)
			}
		})
	}
}

// A lease that is given up notes its Job if the JobRun, and its Job with it, goes while the Job's name must be a lock.
func TestKeepsItsJob(t *testing.T) {
	for name, tc := range map[string]struct {
		run    *v1alpha1.JobRun
		runTTL time.Duration
		want   bool
	}{
		"gone":                               {nil, 0, false},
		"kept for ever":                      {made("a").Leased(1, "5").Obj(), 0, true},
		"being deleted":                      {made("a").Leased(1, "5").Deleting().Obj(), 0, false},
		"its TTL is short":                   {made("a").TTL(59).Leased(1, "5").Obj(), 0, false},
		"its TTL is long":                    {made("a").TTL(60).Leased(1, "5").Obj(), 0, true},
		"its TTL is long, and nearly over":   {made("a").TTL(60).Leased(1, "5").Ended(v1alpha1.PhaseFailed).Obj(), 0, false},
		"the operator's TTL":                 {made("a").Leased(1, "5").Obj(), time.Minute, true},
		"the operator's TTL, nearly over":    {made("a").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Obj(), time.Minute, false},
		"its own TTL is over the operator's": {made("a").TTL(600).Leased(1, "5").Ended(v1alpha1.PhaseFailed).Obj(), time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSnapshot(Observation{Now: wrappers.At(30), RunTTL: tc.runTTL}) // A run that has ended did so 30 s ago.
			if got := s.keepsItsJob(tc.run); got != tc.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
