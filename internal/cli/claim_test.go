// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var pending = phase(v1alpha1.PhasePending)

func key(k string) func(*v1alpha1.JobRun) {
	return func(r *v1alpha1.JobRun) { r.Spec.ConcurrencyKey = k }
}

// since makes a run older by seconds.
func since(seconds int) func(*v1alpha1.JobRun) {
	return func(r *v1alpha1.JobRun) {
		r.CreationTimestamp = metav1.NewTime(synctestBegins.Add(-time.Duration(100+seconds) * time.Second))
	}
}

func forAJob(r *v1alpha1.JobRun) { r.Spec.Template = &batchv1.JobTemplateSpec{} }

func toBeCancelled(r *v1alpha1.JobRun) { r.Spec.Cancel = new(true) }

// leasedAt leases a run to w under a generation.
func leasedAt(generation int64) func(*v1alpha1.JobRun) {
	return func(r *v1alpha1.JobRun) {
		r.Status.Phase = v1alpha1.PhaseLeased
		r.Status.Lease = &v1alpha1.RunLease{HolderIdentity: "w", Generation: generation, DurationSeconds: 30, KeyVersion: "7"}
	}
}

func heldByNobody(r *v1alpha1.JobRun) { r.Status.Lease.HolderIdentity = "" }

func TestClaimsTheOldest(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		s.want(s.run("claim", "--job=sync", "--holder=w", "--lease-duration=1m"), 0,
			"jobrun.batch.jobrun.dev/second claimed, generation 1\n",
			"w holds run second for 60s from each renewal: `kubectl jobrun renew second --generation 1`, or a renewed Lease of the name w\n")
		if l := s.read("second").Status.Lease; l.HolderIdentity != "w" || l.DurationSeconds != 60 || l.RenewTime == nil || l.AcquireTime == nil {
			t.Errorf("lease %+v", l)
		}
		s.want(s.run("claim", "--job=sync", "-o", "name"), 0, "jobrun.batch.jobrun.dev/third\n", "~holds run third for 30s")
		s.want(s.run("claim", "--job=sync", "-o", "jsonpath={.metadata.name} {.status.lease.generation}"), 0, "fourth 4", "~holds run fourth for 5s")
		s.want(s.run("claim", "--job=sync"), 5, "", "error: nothing to claim: no run of job sync waits for a worker\n")
	},
		aRun("of a held key", pending, key("held"), since(9)), aRun("holds it", leasedAt(1), key("held")),
		aRun("template", pending, key("t"), since(8), forAJob), aRun("cancelled", pending, key("c"), since(7), toBeCancelled),
		aRun("fourth", pending, key(""), since(1), func(r *v1alpha1.JobRun) {
			r.Spec.LeaseDurationSeconds = 5
			r.Status.Lease = &v1alpha1.RunLease{Generation: 3}
		}),
		aRun("second", pending, key("2"), since(3)), aRun("third", pending, key("3"), since(2)), aRun("holds none", leasedAt(1), key("")))
}

func TestClaimOfARun(t *testing.T) {
	for name, tc := range map[string]struct {
		run            *v1alpha1.JobRun
		args           []string
		code           int
		stdout, stderr string
	}{
		"waits":        {run: aRun("a", pending), stdout: "jobrun.batch.jobrun.dev/a claimed, generation 1\n", stderr: "~holds run a for 30s"},
		"is held":      {run: aRun("a", leasedAt(1)), code: 5, stderr: "error: nothing to claim: run a: Leased by w, generation 1\n"},
		"has ended":    {run: aRun("a", ending(failed)), args: []string{"--wait"}, code: 5, stderr: "error: nothing to claim: run a: Failed: it broke\n"},
		"has a Job":    {run: aRun("a", pending, forAJob), args: []string{"--wait"}, code: 5, stderr: "~run a has a template: a Job executes it"},
		"is cancelled": {run: aRun("a", pending, toBeCancelled), args: []string{"--wait"}, code: 5, stderr: "~run a was cancelled"},
		"is a receipt": {run: aRun("a", receiptOf("b")), args: []string{"--wait"}, code: 5, stderr: "~another run stands for a: Coalesced, run b stands for it"},
		"is not there": {run: aRun("b", pending), code: 1, stderr: "~Error from server (NotFound)"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.want(s.run(append([]string{"claim", "a"}, tc.args...)...), tc.code, tc.stdout, tc.stderr)
			}, tc.run)
		})
	}
}

func TestClaimCommandLine(t *testing.T) {
	for name, tc := range map[string]struct {
		args   []string
		stderr string
	}{
		"neither":            {nil, "~which run? Name a job with --job, or one run"},
		"both":               {[]string{"--job=sync", "a"}, "~which run?"},
		"timeout, no wait":   {[]string{"a", "--timeout=1s"}, "~--timeout is for --wait"},
		"a lease of nothing": {[]string{"a", "--lease-duration=0s"}, "~--lease-duration 0s"},
		"a format":           {[]string{"a", "-o", "xml"}, "~-o xml is not an output format"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.want(s.run(append([]string{"claim"}, tc.args...)...), 2, "", tc.stderr)
			})
		})
	}
}

func TestClaimWaits(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		s.want(s.run("claim", "--job=sync", "--wait", "--timeout=1m"), 4, "",
			"error: timed out after 1m0s: nothing to claim: no run of job sync waits for a worker\n")
		code := s.start("claim", "--job=sync", "--wait", "--timeout=1m")
		time.Sleep(20 * time.Second)
		if err := s.api.Create(t.Context(), aRun("a", pending), &client.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		s.want(<-code, 0, "jobrun.batch.jobrun.dev/a claimed, generation 1\n", "~holds run a")
		code = s.start("claim", "--job=sync", "--wait")
		s.settle()
		s.interrupt()
		s.want(<-code, 130, "", "~error: interrupted: nothing to claim")
	})
}
