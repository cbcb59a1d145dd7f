// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func busyNamespace() []client.Object {
	noKey := func(r *v1alpha1.JobRun) { r.Spec.JobName, r.Spec.ConcurrencyKey = "resize", "" }
	return []client.Object{
		aRun("first", leased, func(r *v1alpha1.JobRun) {
			r.Status.Progress = &v1alpha1.Progress{Current: new(int64(3)), Total: new(int64(9))}
		}),
		aRun("next", phase(v1alpha1.PhasePending), func(r *v1alpha1.JobRun) { r.Status.Coalesced = &v1alpha1.CoalescedTriggers{Count: 4} }),
		aRun("promised", phase("")),
		aRun("third", receiptOf("next")), aRun("unsettled", receiptOf("next"), phase("")), aRun("done", ending(completed)),
		aRun("r1", leased, noKey), aRun("r2", leased, noKey),
	}
}

const topText = `2000-01-01T00:00:00Z  3 executing, 1 waiting, 1 queued

JOB      KEY    EXECUTING   FOR   PROGRESS   WAITING   FOR   QUEUED   ABSORBED
resize   -      2 runs      30s   -          -         -     0        0
sync     acme   first       30s   3/9        next      90s   1        4
`

func TestTopOnce(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("top"), 0, topText, "")
		s.want(s.run("top", "-A"), 0, "~NAMESPACE   JOB~default     sync", "")
		s.want(s.run("top", "--interval=0s"), 2, "", "~--interval 0s: must be more than 0")
		s.want(s.run("top", "-n", "empty"), 0, "2000-01-01T00:00:00Z  0 executing, 0 waiting, 0 queued\n\n", "")
	}, busyNamespace()...)
}

func TestTopIsLiveOnATerminal(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.columns = 60
		code := s.start("top")
		time.Sleep(3 * time.Second)
		s.update("first", completed)
		time.Sleep(2 * time.Second)
		s.interrupt()
		s.want(<-code, 0, "~\x1b[H\x1b[2J\x1b[H2000-01-01T00:00:00Z  3 executing, 1 waiting, 1 queued\x1b[K\n~"+
			"\x1b[H2000-01-01T00:00:02Z  3 executing~\x1b[H2000-01-01T00:00:04Z  2 executing~"+
			"\nsync     acme   first       30s   3/9        next      90s \x1b[K\n\x1b[J~\nThe runs go on.\n", "")
	}, busyNamespace()...)
}
