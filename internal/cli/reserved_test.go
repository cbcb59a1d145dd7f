// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// reservedFor returns an admit function that refuses each trigger for a time, because the key is reserved for a run that
// does not exist. Then it answers as next.
func reservedFor(d time.Duration, next func(*v1alpha1.JobRun) error) func(*v1alpha1.JobRun) error {
	end := time.Now().Add(d)
	return func(r *v1alpha1.JobRun) error {
		switch {
		case time.Now().Before(end):
			return &apierrors.StatusError{ErrStatus: metav1.Status{
				Status: metav1.StatusFailure, Code: http.StatusConflict, Reason: metav1.StatusReasonConflict,
				Message: "the key is reserved for run missing",
				Details: &metav1.StatusDetails{Name: r.Name, Causes: []metav1.StatusCause{
					{Type: v1alpha1.CauseReservedRun, Message: "missing"},
					{Type: v1alpha1.CauseFreeBy, Message: end.UTC().Format(time.RFC3339)},
				}},
			}}
		case next != nil:
			return next(r)
		default:
			return nil
		}
	}
}

const (
	waitsForReservation = "The key is reserved for run missing, which does not exist: its create is under way or was refused. " +
		"Trying again; the reservation ends by 2000-01-01T00:00:08Z at the latest.\n"
	stillReserved = waitsForReservation + "Error from server (Conflict): timed out after 5s: the key is reserved for run missing\n" +
		"Nothing was created. Trigger again later, or with a longer --timeout.\n"
)

// A conflict needs a run that waits. While the key is reserved for a run that does not exist, the plugin tries again.
func TestTriggerOfAReservedKey(t *testing.T) {
	for name, tc := range map[string]struct {
		args           []string
		next           func(*v1alpha1.JobRun) error
		code           int
		stdout, stderr string
	}{
		"which becomes free":    {stdout: "jobrun.batch.jobrun.dev/b created\n", stderr: waitsForReservation},
		"which a run waits for": {next: conflictWith("missing"), code: exitConflict, stderr: "~" + waitsForReservation + "~run missing is pending"},
		"within a timeout":      {args: []string{"--timeout=1m"}, stdout: "jobrun.batch.jobrun.dev/b created\n", stderr: waitsForReservation},
		"beyond a timeout":      {args: []string{"--timeout=5s"}, code: exitReserved, stderr: stillReserved},
		"in a dry run": {
			args: []string{"--dry-run=server"}, stdout: "jobrun.batch.jobrun.dev/b created (server dry run)\n", stderr: waitsForReservation,
		},
	} {
		for _, command := range [][]string{{"trigger", "sync", "--key=acme"}, {"retrigger", "a"}} {
			t.Run(command[0]+" "+name, func(t *testing.T) {
				inScene(t, func(_ *testing.T, s *scene) {
					s.admit = reservedFor(8*time.Second, tc.next)
					code := s.run(append(append(command, "--name=b"), tc.args...)...)
					s.want(code, tc.code, tc.stdout, tc.stderr)
				}, original())
			})
		}
	}
}

// A reservation ends within milliseconds if the create of its run is under way. The plugin does not mention it.
func TestTriggerOfAKeyThatIsReservedForAMoment(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.admit = reservedFor(100*time.Millisecond, nil)
		s.want(s.run("trigger", "sync", "--key=acme", "--name=a"), exitOK, "jobrun.batch.jobrun.dev/a created\n", "")
	})
}

func TestInterruptedWhileTheKeyIsReserved(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.admit = reservedFor(time.Hour, nil)
		code := s.start("trigger", "sync", "--key=acme", "--name=a")
		time.Sleep(time.Minute)
		s.interrupt()
		s.want(<-code, exitInterrupted, "", "~Trying again~interrupted")
	})
}
