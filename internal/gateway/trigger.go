// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway/group"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

const (
	idempotencyHeader = "Idempotency-Key"
	// createTimeout bounds a create. The API server gives up before.
	createTimeout = 40 * time.Second
	// answerPatience is how long the gateway tries to learn what became of a create whose answer was lost.
	answerPatience = 5 * time.Second
	// maxWait is the longest wait=.
	maxWait = 300 * time.Second
	// maxWaits bounds the waits of all callers. Each takes some 30 KiB and what its JobRun takes. They share one watch.
	maxWaits = 16384
)

// trigger answers POST /v1/namespaces/{ns}/jobs/{job}/runs.
func (s *Server) trigger(w http.ResponseWriter, r *http.Request) error {
	patience, leave, err := s.mayWait(r)
	if err != nil {
		return err
	}
	defer leave()
	dryRun, err := dryRunOf(r)
	if err != nil {
		return err
	}
	var request TriggerRequest
	done, err := s.readJSON(w, r, maxTriggerBytes, &request)
	if err != nil {
		return err
	}
	defer done()
	if err := request.takeHeader(r.Header.Get(idempotencyHeader)); err != nil {
		return err
	}
	triggered, err := s.sendTrigger(r, request.spec(r.PathValue(pathJob)), request.Labels, dryRun)
	if err != nil {
		return err
	}
	done() // a wait may be long
	return s.answerTrigger(w, r, triggered, patience)
}

// sendTrigger sends one trigger. Unless it is a dry run, it may share a JobRun with others.
func (s *Server) sendTrigger(
	r *http.Request, spec v1alpha1.JobRunSpec, labels map[string]string, dryRun []jobrun.TriggerOption,
) (group.Answer, error) {
	if len(dryRun) > 0 {
		return s.create(r.Context(), func(ctx context.Context) (jobrun.TriggerResult, error) {
			return s.runs(r).Trigger(ctx, spec, append(triggerOptions(callerOf(ctx), labels), dryRun...)...)
		})
	}
	return s.share(r.Context(), namespaceOf(r), spec, labels)
}

// needsTrigger returns the rights that the trigger of the path needs.
func needsTrigger(r *http.Request) []right { return toTrigger(namespaceOf(r), r.PathValue(pathJob)) }

// takeHeader takes the idempotencyKey from the header.
func (t *TriggerRequest) takeHeader(key string) error {
	if key != "" && t.IdempotencyKey != "" && key != t.IdempotencyKey {
		return badRequest("the header %s and the field idempotencyKey differ: send one of them", idempotencyHeader)
	}
	t.IdempotencyKey = cmp.Or(t.IdempotencyKey, key)
	return nil
}

// triggerOptions are those of every trigger for a caller. The caller becomes the user of the trigger.
func triggerOptions(caller string, labels map[string]string) []jobrun.TriggerOption {
	return []jobrun.TriggerOption{
		jobrun.WithLabels(labels),
		jobrun.WithAnnotations(map[string]string{v1alpha1.AnnotationTriggeredBy: caller}),
		jobrun.WithPatience(answerPatience),
	}
}

// create creates one JobRun. It goes on if the client leaves, because a create cannot be taken back.
func (s *Server) create(ctx context.Context, send func(context.Context) (jobrun.TriggerResult, error)) (group.Answer, error) {
	ctx, done := s.untilCutShort(context.WithoutCancel(ctx))
	defer done()
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	ctx, warnings := collecting(ctx)
	result, err := send(ctx)
	return group.Answer{TriggerResult: result, Warnings: warnings.all()}, err
}

// answerTrigger writes the answer to a trigger, after the outcome if the caller waits for it. The code tells what the
// trigger became, not how the run ended.
func (s *Server) answerTrigger(w http.ResponseWriter, r *http.Request, t group.Answer, patience time.Duration) error {
	answer := answerOf(t)
	traceOf(r.Context()).created = answer.Trigger
	if patience > 0 {
		s.await(r, t.JobRun, patience, &answer)
	}
	return s.writeJSON(w, codeOf(t.Disposition), answer)
}

func codeOf(disposition v1alpha1.Disposition) int {
	switch disposition {
	case v1alpha1.DispositionCoalesced, v1alpha1.DispositionIdempotent:
		return http.StatusOK
	default:
		return http.StatusCreated
	}
}

// answerOf returns what is known right after a create.
func answerOf(t group.Answer) TriggerAnswer {
	answer := TriggerAnswer{Disposition: t.Disposition, Run: t.Run.Name, Trigger: t.JobRun.Name, Warnings: t.Warnings}
	if admission := t.JobRun.Spec.Admission; admission != nil {
		answer.KeyVersion = admission.KeyVersion
	}
	return answer
}

// await waits until the trigger has an outcome, the time is over, the client leaves, or the gateway stops. It adds what it
// saw to the answer.
func (s *Server) await(r *http.Request, own *v1alpha1.JobRun, patience time.Duration, answer *TriggerAnswer) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	go func() {
		select {
		case <-s.drained():
			cancel()
		case <-ctx.Done():
		}
	}()
	runs := jobrun.New(s.sharing, namespaceOf(r))
	outcome, err := runs.WaitFor(ctx, own)
	seen := outcome.JobRun
	if seen == nil {
		return
	}
	answer.Run = cmp.Or(outcome.Run.Name, answer.Run)
	answer.Phase = cmp.Or(seen.Outcome(), seen.Status.Phase)
	answer.Coalesced = seen.Status.Coalesced
	answer.Output = outcome.Output
	answer.Error = seen.Status.Error
	var ended *jobrun.FailedError
	var cancelled *jobrun.CancelledError
	switch {
	case errors.As(err, &ended):
		answer.Phase, answer.Error = v1alpha1.PhaseFailed, ended.Message
	case errors.As(err, &cancelled):
		answer.Phase, answer.Error = v1alpha1.PhaseCancelled, cancelled.Message
	case err == nil && answer.Output == nil && outcome.Run.Name != seen.Name:
		// A receipt has no room for a long output.
		if run, err := runs.Get(ctx, outcome.Run.Name); err == nil && run.UID == outcome.Run.UID {
			answer.Output = run.Status.Output
		}
	}
}

// mayWait returns the time of the parameter wait, and counts the wait until leave is called. An answer with the outcome shows what
// runs have, so the caller needs the right to read them. All this comes before the create: a 403 or a 429 stores nothing.
func (s *Server) mayWait(r *http.Request) (patience time.Duration, leave func(), err error) {
	if patience, err = waitOf(r); err != nil || patience == 0 {
		return 0, func() {}, err
	}
	if err := s.require(r.Context(), right{verb: "get", resource: jobRuns, namespace: namespaceOf(r)}); err != nil {
		return 0, nil, err
	}
	leave, err = s.waits.enter("the parameter wait", "")
	return patience, leave, err
}

// waitOf returns the time of the parameter wait.
func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	patience, err := time.ParseDuration(text)
	if err != nil || patience < 0 || patience > maxWait {
		return 0, badRequest("wait must be a duration of at most %s, such as 30s, not %q", maxWait, text)
	}
	return patience, nil
}

// dryRunOf returns the options of the parameter dryRun, which has the values of Kubernetes.
func dryRunOf(r *http.Request) ([]jobrun.TriggerOption, error) {
	switch text := r.URL.Query().Get("dryRun"); {
	case text == "":
		return nil, nil
	case text != "All":
		return nil, badRequest("dryRun must be All, not %q", text)
	case r.URL.Query().Get("wait") != "":
		return nil, badRequest("a dry run has no outcome to wait for")
	default:
		return []jobrun.TriggerOption{jobrun.DryRun()}, nil
	}
}
