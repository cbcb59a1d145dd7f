// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"regexp"
	"strings"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// unclaimed begins the status.error of a run that no worker claims. By this text the operator knows its own message:
// everything else in the status.error of a run without a template is the worker's.
const unclaimed = "no worker has claimed this run"

// tellObstacle writes why a run does not get on into its status.error, and clears the text when that is over. It is the
// last step, because nothing waits for it. One step owns the field at a time:
//   - follow-lease, while the Job of a leased run is refused
//   - tell-obstacle, once the leased run has its Job, or while the run waits for the claim of a worker or is held back by
//     its definition
//   - the worker, while it holds the run
func tellObstacle(s *Snapshot) []Op {
	for _, run := range s.Runs {
		obstacle, known := s.obstacle(run)
		if !known || sameButNumbers(run.Status.Error, obstacle) {
			continue
		}
		status := statusOf(run)
		status.Error = obstacle
		ops := join(s.checkKey(), []Op{WriteStatus{run, status}})
		if obstacle != "" {
			ops = append(ops, Emit{obstacleEvent(run, obstacle)})
		}
		return ops
	}
	return nil
}

// obstacle returns the text that the status.error of a run should have; empty if the run gets on. known is false if that
// is not known, or if the field belongs to another step or to a worker.
func (s *Snapshot) obstacle(run *v1alpha1.JobRun) (text string, known bool) {
	e := s.execution(run)
	switch role := s.role(run); {
	case s.mustEnd(run):
		return "", false
	case role == RoleWaiting && (s.holdsBack(run) != "" || executor.IsHeldBack(run.Status.Error)):
		return oneLine(s.holdsBack(run)), run.Status.Phase == v1alpha1.PhasePending
	case run.RunsAsJob():
		if role != RoleExecuting || run.Status.JobRef == nil || e.Obstacle == nil {
			return "", false
		}
		return oneLine(*e.Obstacle), true
	case role == RoleExecuting:
		return "", isUnclaimed(run) || executor.IsHeldBack(run.Status.Error) // A worker that claimed the run may have kept the text.
	case role == RoleWaiting && s.isClaimable(run):
		return unclaimedText(run, e), e.UnclaimedFor > 0
	default:
		return "", false
	}
}

// isClaimable reports whether a worker may claim the run, and could have done so for a while.
func (s *Snapshot) isClaimable(run *v1alpha1.JobRun) bool {
	return run.Status.Phase == v1alpha1.PhasePending && s.leased == (runkey.Identity{}) && s.isAccepting(run)
}

func unclaimedText(run *v1alpha1.JobRun, e *Execution) string {
	return oneLine(fmt.Sprintf("%s for %s; is a worker for jobName %s running?", unclaimed, e.UnclaimedFor, run.Spec.JobName))
}

// isUnclaimed reports whether the status.error of a run says that no worker claims it.
func isUnclaimed(run *v1alpha1.JobRun) bool {
	return !run.RunsAsJob() && strings.HasPrefix(run.Status.Error, unclaimed)
}

var number = regexp.MustCompile(`[0-9]+`)

// sameButNumbers reports whether two texts differ at most in their numbers. The number of nodes in the message of the
// scheduler, for example, is not worth a write.
func sameButNumbers(a, b string) bool {
	return a == b || number.ReplaceAllString(a, "0") == number.ReplaceAllString(b, "0")
}

func obstacleEvent(run *v1alpha1.JobRun, obstacle string) Event {
	if run.RunsAsJob() || executor.IsHeldBack(obstacle) {
		return newEvent(run, EventBlocked, ActionBlocked, obstacle)
	}
	return newEvent(run, EventUnclaimed, ActionUnclaimed, obstacle)
}
