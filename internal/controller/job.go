package controller

import (
	"regexp"
	"strings"

	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// conditionReason is what a condition's reason must look like. That of a Job need not.
var conditionReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

// resultOf is how a finished Job ends its run.
func resultOf(e *Execution) ending {
	c := executor.ResultOf(e.Job)
	if c.Type == batchv1.JobComplete {
		return ending{phase: v1alpha1.PhaseCompleted, reason: ReasonCompleted, message: "the Job completed", output: e.Output}
	}
	reason := c.Reason
	if len(reason) > 1024 || !conditionReason.MatchString(reason) {
		reason = "JobFailed"
	}
	return failure(reason, strings.Trim(c.Reason+": "+c.Message, ": "))
}
