// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"errors"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// verb is the kind of a request.
type verb string

const (
	trigger    verb = "trigger"
	dryRun     verb = "dry run"
	cancelRun  verb = "cancel"
	deleteRun  verb = "delete"
	triggerOdd verb = "trigger that a policy refuses"
)

// outcome is the kind of an answer.
type outcome string

const (
	accepted outcome = "accepted"
	// conflict means that the key names another run as waiting. That run may not exist yet.
	conflict outcome = "conflict"
	// refused means that nothing was done for another reason than a conflict.
	refused outcome = "refused"
	// unknown means that there is no answer, or that the answer does not tell what was done.
	unknown outcome = "unknown"
)

// request is a request of a caller, with its answer.
type request struct {
	// ID identifies the request. The JobRun has it in an annotation, and the input of a trigger at a gateway has it.
	ID string `json:"id"`
	// Gateway is the gateway that the request was sent to. It is empty for a request to the API server.
	Gateway   string `json:"gateway,omitempty"`
	Verb      verb   `json:"verb"`
	Namespace string `json:"namespace"`
	// Name is the name of the JobRun. That of a trigger at a gateway is in the answer.
	Name string `json:"name"`

	// User is who sent a trigger to a gateway.
	User           string `json:"user,omitempty"`
	JobName        string `json:"jobName,omitempty"`
	ConcurrencyKey string `json:"concurrencyKey,omitempty"`
	IdempotencyKey string `json:"idempotencyKey,omitempty"`
	Skip           bool   `json:"skip,omitempty"`

	Sent     time.Duration `json:"sent"`
	Answered time.Duration `json:"answered"`

	Outcome   outcome             `json:"outcome"`
	UID       types.UID           `json:"uid,omitempty"`
	Admission *v1alpha1.Admission `json:"admission,omitempty"`
	// Disposition, Run, KeyVersion and Phase are those of a gateway's answer.
	Disposition v1alpha1.Disposition `json:"disposition,omitempty"`
	Run         string               `json:"run,omitempty"`
	KeyVersion  string               `json:"keyVersion,omitempty"`
	Phase       v1alpha1.Phase       `json:"phase,omitempty"`
	// Pending is the run that a conflict names.
	Pending string `json:"pending,omitempty"`
	Error   string `json:"error,omitempty"`
}

// creates reports whether the request may create a JobRun.
func (r *request) creates() bool { return r.Verb == trigger || r.Verb == triggerOdd }

// answer records the answer to the request.
func (r *request) answer(run *v1alpha1.JobRun, err error) {
	r.Outcome = outcomeOf(err)
	if err != nil {
		r.Error = err.Error()
	}
	var inTheWay *jobrun.ConflictError
	if errors.As(jobrun.Classify(err), &inTheWay) {
		r.Pending = inTheWay.PendingRun
	}
	var missing *jobrun.ReservedError
	if errors.As(jobrun.Classify(err), &missing) {
		r.Pending = missing.Run
	}
	if r.Outcome == accepted && run != nil {
		r.UID, r.Admission = run.UID, run.Spec.Admission
	}
}

func outcomeOf(err error) outcome {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return accepted
	case !errors.As(err, &status):
		return unknown
	case errors.Is(jobrun.Classify(err), jobrun.ErrConflict), errors.Is(jobrun.Classify(err), jobrun.ErrReserved):
		return conflict
	case status.Status().Code >= http.StatusInternalServerError || status.Status().Code == http.StatusTooManyRequests:
		return unknown
	default:
		return refused
	}
}

// requestLog is the history of requests.
type requestLog struct {
	mu  sync.Mutex
	all []request
}

func (l *requestLog) add(r request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r)
}

func (l *requestLog) requests() []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}
