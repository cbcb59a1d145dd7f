// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestHolderWritesItsRun(t *testing.T) {
	for name, tc := range map[string]struct {
		args  []string
		stdin string
		done  string
		want  func(v1alpha1.JobRunStatus) bool
	}{
		"renew": {[]string{"renew"}, "", "renewed", func(s v1alpha1.JobRunStatus) bool {
			return s.Phase == v1alpha1.PhaseLeased && s.Lease.RenewTime.Time.Equal(time.Now()) && s.Lease.HolderIdentity == "w"
		}},
		"renew as its holder": {[]string{"renew", "--holder=w"}, "", "renewed", func(s v1alpha1.JobRunStatus) bool { return s.Lease.RenewTime != nil }},
		"progress": {[]string{"progress", "--current=3", "--total=10", "--message=rows"}, "", "reported", func(s v1alpha1.JobRunStatus) bool {
			return progressText(s.Progress) == "3/10 rows" && s.Progress.Generation == 2
		}},
		"complete": {[]string{"complete"}, "", "completed", func(s v1alpha1.JobRunStatus) bool {
			return s.Phase == v1alpha1.PhaseCompleted && s.FinishedGeneration == 2 && s.Output == nil
		}},
		"complete with output": {[]string{"complete", `--output={"a":null}`}, "", "completed", func(s v1alpha1.JobRunStatus) bool {
			return string(s.Output.Raw) == `{"a":null}`
		}},
		"complete with stdin": {[]string{"complete", "--output=-"}, "[1]\n", "completed", func(s v1alpha1.JobRunStatus) bool {
			return string(s.Output.Raw) == `[1]`
		}},
		"fail": {[]string{"fail", "--error=no such org\n"}, "", "failed", func(s v1alpha1.JobRunStatus) bool {
			return s.Phase == v1alpha1.PhaseFailed && s.FinishedGeneration == 2 && s.Error == "no such org"
		}},
		"release": {[]string{"release"}, "", "released", func(s v1alpha1.JobRunStatus) bool {
			return s.Phase == v1alpha1.PhaseLeased && *s.Lease == v1alpha1.RunLease{Generation: 3, KeyVersion: "7"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(t *testing.T, s *scene) {
				s.stdin = tc.stdin
				s.want(s.run(append(tc.args, "jobrun/a", "--generation=2")...), 0, "jobrun.batch.jobrun.dev/a "+tc.done+"\n", "")
				if got := s.read("a").Status; !tc.want(got) {
					t.Errorf("status %+v, lease %+v", got, got.Lease)
				}
			}, aRun("a", leasedAt(2)))
		})
	}
}

func TestHolderThatLostItsLease(t *testing.T) {
	const lost = "error: generation 2 has lost the lease of the run: stop working on it "
	for name, tc := range map[string]struct {
		run    *v1alpha1.JobRun
		args   []string
		stderr string
	}{
		"to another":     {aRun("a", leasedAt(4)), nil, lost + "(a: Leased by w, generation 4)\n"},
		"it waits again": {aRun("a", leasedAt(3), pending), nil, lost + "(a: Pending)\n"},
		"another holder": {aRun("a", leasedAt(2)), []string{"--holder=v"}, lost + "(a: Leased by w, generation 2)\n"},
		"cancelled":      {aRun("a", leasedAt(2), toBeCancelled), nil, "error: run a was cancelled: stop working on it\n"},
		"ended":          {aRun("a", leasedAt(3), ending(failed)), nil, lost + "(a: Failed: it broke)\n"},
		"none":           {aRun("a", pending), nil, lost + "(a: Pending)\n"},
	} {
		for _, command := range [][]string{{"renew"}, {"progress", "--current=1"}, {"complete"}, {"fail", "--error=x"}} {
			t.Run(name+"/"+command[0], func(t *testing.T) {
				inScene(t, func(t *testing.T, s *scene) {
					before := s.read("a").ResourceVersion
					s.want(s.run(append(append(command, "a", "--generation=2"), tc.args...)...), 6, "", tc.stderr)
					if s.read("a").ResourceVersion != before {
						t.Error("it was written")
					}
				}, tc.run.DeepCopy())
			})
		}
	}
}

func TestRepeatedWriteSucceeds(t *testing.T) {
	ended := func(change func(*v1alpha1.JobRunStatus)) *v1alpha1.JobRun {
		return aRun("a", leasedAt(2), ending(change), func(r *v1alpha1.JobRun) { r.Status.FinishedGeneration = 2 })
	}
	for name, tc := range map[string]struct {
		run  *v1alpha1.JobRun
		args []string
		code int
	}{
		"completed":            {ended(completed), []string{"complete"}, 0},
		"failed":               {ended(failed), []string{"fail", "--error=x"}, 0},
		"failed, not complete": {ended(failed), []string{"complete"}, 6},
		"completed, not fail":  {ended(completed), []string{"fail", "--error=x"}, 6},
		"given back":           {aRun("a", leasedAt(3), heldByNobody, pending), []string{"release"}, 0},
		"given back just now":  {aRun("a", leasedAt(3), heldByNobody), []string{"release"}, 0},
		"given back, in vain":  {aRun("a", leasedAt(3), heldByNobody, ending(failed)), []string{"release"}, 0},
		"claimed right after":  {aRun("a", leasedAt(3)), []string{"release"}, 6},
		"claimed since":        {aRun("a", leasedAt(4)), []string{"release"}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(t *testing.T, s *scene) {
				if code := s.run(append(tc.args, "a", "--generation=2")...); code != tc.code {
					t.Errorf("exit code %d\n%s", code, s.stderr.String())
				}
			}, tc.run)
		})
	}
}

func TestHolderCommandLine(t *testing.T) {
	for name, tc := range map[string]struct {
		args   []string
		stderr string
	}{
		"no generation":  {[]string{"renew", "a"}, "~which lease? Name its --generation"},
		"no run":         {[]string{"complete", "--generation=1"}, "~`complete NAME` takes one NAME, and none is given"},
		"no reason":      {[]string{"fail", "a", "--generation=1"}, "~why did it fail? Say so with --error"},
		"no JSON":        {[]string{"complete", "a", "--generation=1", "--output=text"}, "~--output is not JSON (a string needs its own quotes: --output '\"text\"')"},
		"no time at all": {[]string{"renew", "a", "--generation=1", "--timeout=-1s"}, "~--timeout must not be negative"},
		"less than 0":    {[]string{"progress", "a", "--generation=1", "--current=-1"}, "~must not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) { s.want(s.run(tc.args...), 2, "", tc.stderr) })
		})
	}
}

// The lease or the answer can be lost while a holder writes.
func TestHolderHearsFromTheServer(t *testing.T) {
	invalid := apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("JobRun").GroupKind(), "a", nil)
	away := apierrors.NewServiceUnavailable("try again")
	for name, tc := range map[string]struct {
		// answers are given one after the other, after a change of the run; then the write is made.
		answers []error
		change  func(*v1alpha1.JobRunStatus)
		code    int
		stderr  string
	}{
		"it was away": {answers: []error{away, away}},
		"it stays away": {
			answers: slices.Repeat([]error{away}, 100), code: 4, stderr: "~timed out after 20s: try again",
		},
		"the lease went": {
			answers: []error{invalid}, change: func(s *v1alpha1.JobRunStatus) { s.Lease.Generation = 3 }, code: 6,
			stderr: "~generation 2 has lost the lease~(a: Leased by w, generation 3)",
		},
		"the output is too large": {
			answers: []error{&apierrors.StatusError{ErrStatus: metav1.Status{Message: "etcdserver: request is too large", Code: 500}}}, code: 1,
			stderr: "~Error from server: status.output must have at most 262144 bytes~etcdserver: request is too large",
		},
		"the output is none": {answers: []error{invalid}, code: 1, stderr: "~Error from server (Invalid)"},
		"the answer was lost": {
			answers: []error{away, invalid}, change: func(s *v1alpha1.JobRunStatus) { completed(s); s.FinishedGeneration = 2 },
		},
		"no right": {
			answers: []error{apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), "a", nil)}, code: 1,
			stderr: "~Error from server (Forbidden)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				left := tc.answers
				s.answer = func() error {
					if len(left) == 0 {
						return nil
					}
					if len(left) == len(tc.answers) && tc.change != nil {
						s.update("a", tc.change)
					}
					answer := left[0]
					left = left[1:]
					return answer
				}
				stdout := ""
				if tc.code == 0 {
					stdout = "jobrun.batch.jobrun.dev/a completed\n"
				}
				s.want(s.run("complete", "a", "--generation=2"), tc.code, stdout, tc.stderr)
			}, aRun("a", leasedAt(2)))
		})
	}
}

// A holder need not stop working on its run because the API server restarts.
func TestHolderReadsItsRun(t *testing.T) {
	away := apierrors.NewServiceUnavailable("try again")
	for name, tc := range map[string]struct {
		answers int
		args    []string
		code    int
		stderr  string
	}{
		"it was away":              {answers: 2},
		"it stays away":            {answers: 100, code: 4, stderr: "~timed out after 20s: try again"},
		"the lease lasts for less": {answers: 100, args: []string{"--timeout=4s"}, code: 4, stderr: "~timed out after 4s: try again"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.hide = func() error {
					if tc.answers--; tc.answers < 0 {
						return nil
					}
					return away
				}
				stdout := ""
				if tc.code == 0 {
					stdout = "jobrun.batch.jobrun.dev/a renewed\n"
				}
				s.want(s.run(append(tc.args, "renew", "a", "--generation=2")...), tc.code, stdout, tc.stderr)
			}, aRun("a", leasedAt(2)))
		})
	}
}

// A renewal that is sent again has the time of the last attempt.
func TestRenewAgain(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		tries := 0
		s.answer = func() error {
			if tries++; tries < 3 {
				return apierrors.NewServiceUnavailable("try again")
			}
			return nil
		}
		begun := time.Now()
		s.want(s.run("renew", "a", "--generation=2"), 0, "jobrun.batch.jobrun.dev/a renewed\n", "")
		if renewed := s.read("a").Status.Lease.RenewTime; !renewed.Time.Equal(time.Now().Truncate(time.Microsecond)) || !renewed.After(begun) {
			t.Errorf("renewed at %s, begun at %s, now %s", renewed, begun, time.Now())
		}
	}, aRun("a", leasedAt(2)))
}
