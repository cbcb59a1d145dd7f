// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// nameSuffixLength exceeds the five characters that the API server itself uses. The API server does not try another name
// if the name that the webhook has set is taken.
const nameSuffixLength = 10

func (h *Handler) handleCreate(ctx context.Context, req admission.Request) admission.Response {
	sent, errs := newSubmission(req.Object.Raw, h.templates)
	if len(errs) > 0 {
		return invalid(req.Name, errs)
	}
	run := sent.identify(req, h.rights)
	if denied := h.rights.checkTrigger(ctx, req, run); denied != nil {
		return refused(denied)
	}
	if restore := restoreOf(run); restore != "" {
		return h.admitRestored(ctx, req, sent, restore)
	}
	if refusal := h.checkRepresents(req, run); refusal != nil {
		return refused(refusal)
	}
	errs, err := h.complete(ctx, sent)
	if err != nil {
		return refused(apierrors.NewServiceUnavailable(err.Error()))
	}
	sent.name(req)
	if errs = h.allErrors(ctx, sent, errs); len(errs) > 0 {
		return invalid(run.Name, errs)
	}
	if err := h.keys.CheckName(ctx, client.ObjectKeyFromObject(run)); err != nil {
		return answer(run.Name, err)
	}

	if errs := h.batchErrors(ctx, run); len(errs) > 0 {
		return invalid(run.Name, errs)
	}

	trigger := triggerOf(run, h.newToken())
	if h.memory() {
		trigger.Terms, trigger.Request = runkey.TermsOf(run), string(req.UID)
	}
	dryRun := isDryRun(req)
	storable := func() error {
		if errs := h.apiServerErrors(ctx, sent); len(errs) > 0 {
			return newInvalid(run.Name, errs)
		}
		return h.quotaError(ctx, run)
	}
	out, err := h.keys.Admit(ctx, run.Namespace, trigger, dryRun, storable)
	err = h.reservedBy(ctx, run.Namespace, err)
	logAdmission(ctx, run, dryRun, out, err)
	if err != nil {
		return answer(run.Name, err)
	}
	response := admission.Patched("", sent.stamp(admissionOf(run, trigger, out))...).WithWarnings(sent.warnings...)
	if out.Disposition != v1alpha1.DispositionCreated {
		response = response.WithWarnings(h.warnings(ctx, run, out)...)
	}
	if !dryRun {
		countTriggers(run, out.Disposition)
	}
	return response
}

// identify gives the run its namespace and its user, and returns it. The user of a trigger that the gateway sends is the one
// whom the gateway names.
func (s *submission) identify(req admission.Request, rights rights) *v1alpha1.JobRun {
	s.run.Namespace = req.Namespace
	userName := req.UserInfo.Username
	if rights.isGateway(req) {
		userName = cmp.Or(s.run.Annotations[v1alpha1.AnnotationTriggeredBy], userName)
	}
	s.setTriggeredBy(userName)
	if !rights.isOperator(req) {
		s.dropLabel(v1alpha1.LabelSchedule)
	}
	if !rights.isReceiver(req, s.run) {
		s.dropLabel(v1alpha1.LabelReceiver)
	}
	return s.run
}

// name gives the run a name if the caller asked for a generated one. Its length depends on what executes the run.
func (s *submission) name(req admission.Request) {
	if s.unnamed = s.run.Name == ""; s.unnamed && s.run.GenerateName != "" {
		s.run.Name = generateName(s.run, req.UID)
	}
}

// logAdmission writes one line about a trigger. Invalid triggers and dry runs are logged at debug level.
func logAdmission(ctx context.Context, run *v1alpha1.JobRun, dryRun bool, out keystore.Outcome, err error) {
	logger := log.FromContext(ctx).WithValues("run", run.Name, "jobName", run.Spec.JobName, "key", run.Spec.ConcurrencyKey)
	if dryRun || apierrors.IsInvalid(err) {
		logger = logger.V(1)
	}
	if err != nil {
		logger.Info("Refused a trigger", "reason", err.Error())
		return
	}
	logger.Info("Admitted a trigger", "disposition", out.Disposition, "standsForIt", out.Run.RunName)
}

// triggerOf returns the trigger of a JobRun. Each call of the webhook uses a new token, even if the API server sends a
// request twice. Otherwise the first call could give back the reservation of the second call after that call was
// answered.
func triggerOf(run *v1alpha1.JobRun, token string) runkey.Trigger {
	return runkey.Trigger{
		Run:            runkey.Identity{RunName: run.Name, Token: token},
		JobName:        run.Spec.JobName,
		ConcurrencyKey: run.Spec.ConcurrencyKey,
		IdempotencyKey: run.Spec.IdempotencyKey,
		Coalesce:       run.Spec.Coalesce,
	}
}

func admissionOf(run *v1alpha1.JobRun, t runkey.Trigger, out keystore.Outcome) v1alpha1.Admission {
	a := v1alpha1.Admission{
		Disposition: out.Disposition,
		RunName:     out.Run.RunName,
		RunToken:    out.Run.Token,
		KeyVersion:  out.KeyVersion,
		Token:       t.Run.Token,
		Executor:    run.Spec.Admission.Executor,
		Definition:  run.Spec.Admission.Definition,
	}
	if r := run.Spec.Represents; r != nil {
		a.Represents = r.Count
	}
	return a
}

// generateName returns a name for a JobRun with generateName, because the API server generates names after admission. A
// request that is sent twice gets the same name, so the second call takes over the reservation of the first.
func generateName(run *v1alpha1.JobRun, request types.UID) string {
	if request == "" {
		request = uuid.NewUUID()
	}
	hash := sha256.Sum256([]byte(request))
	suffix := strings.ToLower(base32.StdEncoding.EncodeToString(hash[:]))[:nameSuffixLength]
	base := run.GenerateName
	return base[:min(len(base), maxNameLength(run)-nameSuffixLength)] + suffix
}
