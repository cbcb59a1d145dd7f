// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func ago(d time.Duration) func(*v1alpha1.JobRun) {
	return func(r *v1alpha1.JobRun) { r.CreationTimestamp = metav1.NewTime(synctestBegins.Add(-d)) }
}

// someRuns returns three runs and receipts of every kind.
func someRuns() []client.Object {
	absorbed := func(n int64) func(*v1alpha1.JobRun) {
		return func(r *v1alpha1.JobRun) { r.Status.Coalesced = &v1alpha1.CoalescedTriggers{Count: n} }
	}
	redelivered := func(r *v1alpha1.JobRun) { r.Status.Phase = v1alpha1.PhaseIdempotent }
	promoted := func(r *v1alpha1.JobRun) { // answered Coalesced, and a run since
		r.Spec.Admission.Disposition, r.Spec.Admission.RunName = v1alpha1.DispositionCoalesced, "never-came"
		r.Labels["team"] = "a"
	}
	unbound := func(r *v1alpha1.JobRun) {
		r.Spec.Admission.Disposition, r.Spec.Admission.RunName = v1alpha1.DispositionCoalesced, "first"
		r.Status.RunRef = nil
	}
	elsewhere := func(r *v1alpha1.JobRun) {
		r.Namespace, r.Spec.JobName, r.Labels[v1alpha1.LabelJobName] = "there", "other", "other"
	}
	return []client.Object{
		aRun("first", leased, absorbed(7), ago(time.Hour)),
		aRun("second", promoted, phase(v1alpha1.PhasePending), ago(time.Minute)),
		aRun("r1", receiptOf("first"), ago(time.Second)),
		aRun("r2", receiptOf("first"), redelivered, ago(time.Second)),
		aRun("r3", unbound, ago(time.Second)),
		aRun("left", receiptOf("gone"), ago(2*time.Second)),
		aRun("first", elsewhere, func(r *v1alpha1.JobRun) { r.Spec.ConcurrencyKey = "" }, ago(time.Minute)),
	}
}

func TestList(t *testing.T) {
	const table = `NAME     JOB    KEY    PHASE       RECEIPTS   AGE
second   sync   acme   Pending     -          60s
first    sync   acme   Leased      9          60m
left     sync   acme   Coalesced   -          2s
`
	for name, tc := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"of the namespace": {stdout: table},
		"of a job":         {args: []string{"--job=sync"}, stdout: table},
		"everywhere, wide": {args: []string{"-A", "-o", "wide"}, stdout: `NAMESPACE   NAME     JOB     KEY    PHASE       RECEIPTS   AGE   HOLDER        ATTEMPTS   ERROR
there       first    other   -      -           -          60s   -             -          -
default     second   sync    acme   Pending     -          60s   -             -          -
default     first    sync    acme   Leased      9          60m   job/first-1   -          -
default     left     sync    acme   Coalesced   -          2s    -             -          -
`},
		"elsewhere":         {args: []string{"-n", "there"}, stdout: "NAME    JOB     KEY   PHASE   RECEIPTS   AGE\nfirst   other   -     -       -          60s\n"},
		"of another job":    {args: []string{"--job=other", "-A", "-o", "name"}, stdout: "jobrun.batch.jobrun.dev/first\n"},
		"of another key":    {args: []string{"--key=globex"}, stderr: "No runs found in namespace default.\n"},
		"of a key":          {args: []string{"--key=acme", "-o", "jsonpath={.items[*].metadata.name}"}, stdout: "second first left"},
		"with a label":      {args: []string{"-l", "team=a", "-o", "name"}, stdout: "jobrun.batch.jobrun.dev/second\n"},
		"without a label":   {args: []string{"-l", "team!=a", "-o", "name"}, stdout: "jobrun.batch.jobrun.dev/first\njobrun.batch.jobrun.dev/left\n"},
		"the latest":        {args: []string{"--limit=1", "-o", "name"}, stdout: "jobrun.batch.jobrun.dev/second\n"},
		"yaml":              {args: []string{"-o", "yaml"}, stdout: "~kind: JobRunList~kind: JobRun\n"},
		"none anywhere":     {args: []string{"-A", "--key=globex"}, stderr: "No runs found.\n"},
		"no selector":       {args: []string{"-l", "a=b=c"}, code: 2, stderr: `~--selector "a=b=c": `},
		"a negative limit":  {args: []string{"--limit=-1"}, code: 2, stderr: "~--limit -1: must not be negative"},
		"an unknown format": {args: []string{"-o", "xml"}, code: 2, stderr: "~-o xml is not an output format"},
		"an argument":       {args: []string{"sync"}, code: 2, stderr: "~list takes no name: `list --job sync` lists the runs of a job, `describe sync` shows one run"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.want(s.run(append([]string{"list"}, tc.args...)...), tc.code, tc.stdout, tc.stderr)
			}, someRuns()...)
		})
	}
}
