// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"

	"github.com/go-logr/logr"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// newLogger returns the log constructor of the controller. Each log line names the request.
func newLogger(base logr.Logger) func(*Request) logr.Logger {
	base = base.WithValues("controller", controllerName)
	return func(req *Request) logr.Logger {
		switch {
		case req == nil:
			return base
		case req.RunKey != "":
			return base.WithValues("namespace", req.Namespace, "runKey", req.RunKey)
		default:
			return base.WithValues("namespace", req.Namespace, "run", req.Run)
		}
	}
}

// journal lists the writes of one action.
type journal []string

func (j *journal) note(format string, args ...any) { *j = append(*j, fmt.Sprintf(format, args...)) }

// log writes one line about a plan. err is nil if the whole plan was carried out. A plan that wrote nothing is logged at
// debug level.
func (j *journal) log(logger logr.Logger, req Request, plan decision.Plan, subject decision.Subject, err error) {
	if len(*j) == 0 {
		logger = logger.V(1)
	}
	values := []any{"step", plan.Step, "jobName", subject.JobName, "key", subject.Key, "wrote", []string(*j)}
	if req.Run == "" { // Otherwise newLogger has added the run.
		values = append(values, "run", subject.Run)
	}
	switch {
	case err != nil:
		logger.Info("Carried out part of a plan", append(values, "reason", err.Error())...)
	case len(plan.Ops) > 0:
		logger.Info("Carried out a plan", values...)
	}
}

// statusNote returns the text of a status without its output and the message of its failure. Both are the user's data
// and must not be logged.
func statusNote(run *v1alpha1.JobRun, status v1alpha1.JobRunStatus) string {
	output := status.Output
	status.Output = nil
	if failure := status.Failure; failure != nil && failure.Message != "" {
		status.Error = fmt.Sprintf("%s, message of %d bytes", executor.FailureText(failure), len(failure.Message))
	}
	text := decision.StatusText(run, status)
	if output != nil && run.Status.Output == nil {
		text += fmt.Sprintf(", output of %d bytes", len(output.Raw))
	}
	return text
}
