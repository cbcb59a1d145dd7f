// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"errors"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/go-logr/logr"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
)

// Path is the URL path of the handler. config/webhook names it too.
const Path = "/mutate-batch-jobrun-dev-v1alpha1-jobrun"

// admissionTimeout is below the API server's timeout of 10 s, so that the webhook has time to give a reservation back.
const admissionTimeout = 8 * time.Second

var (
	kind     = schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: "JobRun"}
	resource = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "jobruns"}
)

// Options holds the dependencies of the webhook.
type Options struct {
	Keys *keystore.Store
	// Cached reads JobRuns and Jobs from the cache.
	Cached client.Reader
	// Live reads JobRuns, Jobs, JobDefinitions and ResourceQuotas from the API server.
	Live client.Reader
	// Definitions reads JobDefinitions from the cache. If it is nil, no job has a definition.
	Definitions client.Reader
	// DenyUndefined refuses a trigger without a template whose job has no definition.
	DenyUndefined bool
	// Quotas reads ResourceQuotas from the cache. If it is nil, only the API server checks quotas.
	Quotas client.Reader
	// ReservationGrace is the grace period of the controller. The webhook tells it to callers that meet a reservation.
	ReservationGrace time.Duration
	// Notes reports whether all replicas know spec.unconfirmed of a RunKey. Nil means that they do.
	Notes func() bool
	// Memory reports whether all replicas know what an idempotency key remembers. Nil means that they do.
	Memory func() bool
	// Defines reports whether all replicas know JobDefinitions. While one does not, no definition completes a trigger. Nil means
	// that they do.
	Defines func() bool
	// Represents reports whether all replicas count JobRuns that stand for several triggers. Nil means that they do.
	Represents func() bool
	// Authorizer says what the user of a request may do. If it is nil, users need no right beyond that to write the object.
	Authorizer authorizer.Authorizer
	// Operator is the user name of the operator, which Authorizer is not asked about.
	Operator string
	// Gateway is the user name of the gateway, which names the user of a trigger in an annotation. It is empty if there is none.
	Gateway string
	// Namespaces are the namespaces that the operator serves. Requests for objects in any other one are refused. If there are
	// none, the operator serves all.
	Namespaces []string
	// NewToken returns a token that was never used before. If NewToken is nil, tokens are random.
	NewToken func() string
}

// Handler answers admission requests for JobRuns.
type Handler struct {
	keys      *keystore.Store
	cached    client.Reader
	live      client.Reader
	quotas    client.Reader
	grace     time.Duration
	newToken  func() string
	memory    func() bool
	rights    rights
	schema    schemaValidators
	templates *knownTemplates
	shapes    *knownShapes

	definitions   *definitions
	defines       func() bool
	represents    func() bool
	denyUndefined bool
}

// NewHandler makes a Handler.
func NewHandler(o Options) (*Handler, error) {
	validator, err := loadSchemaValidators()
	if err != nil {
		return nil, err
	}
	if o.NewToken == nil {
		o.NewToken = func() string { return string(uuid.NewUUID()) }
	}
	if o.Memory == nil {
		o.Memory = func() bool { return true }
	}
	if o.Defines == nil {
		o.Defines = func() bool { return true }
	}
	if o.Represents == nil {
		o.Represents = func() bool { return true }
	}
	return &Handler{
		keys: o.Keys, cached: o.Cached, live: o.Live, quotas: o.Quotas, grace: o.ReservationGrace, newToken: o.NewToken, memory: o.Memory,
		rights: newRights(o), schema: validator, templates: newKnownTemplates(), shapes: newKnownShapes(),
		definitions: newDefinitions(o.Definitions, o.Live), defines: o.Defines, represents: o.Represents,
		denyUndefined: o.DenyUndefined,
	}, nil
}

// SetupWithManager registers the handlers with the manager's webhook server.
func SetupWithManager(mgr ctrl.Manager, o Options) error {
	handler, err := NewHandler(o)
	if err != nil {
		return err
	}
	server := mgr.GetWebhookServer()
	for path, handler := range map[string]admission.Handler{
		Path:           handler,
		ClaimPath:      NewClaimHandler(o),
		DefinitionPath: NewDefinitionHandler(o),
		FencePath:      NewFenceHandler(o),
		OutputPath:     admission.HandlerFunc(HandleOutput),
	} {
		server.Register(path, NewHTTPHandler(servedOnly(o.Namespaces, handler)))
	}
	return nil
}

// NewHTTPHandler returns what serves a handler's requests. It decodes a JobRun of any number of levels.
func NewHTTPHandler(handler admission.Handler) http.Handler {
	return shallow(&admission.Webhook{Handler: handler, LogConstructor: newLogger, WithContextFunc: detached})
}

// detached returns a context that outlives the manager's. The server waits for its requests when the manager stops, but it
// cancels their contexts, so each of them would be refused. admissionTimeout bounds them.
func detached(ctx context.Context, _ *http.Request) context.Context {
	return context.WithoutCancel(ctx)
}

// newLogger returns the logger of a request. req is nil when the manager sets the webhook up.
func newLogger(base logr.Logger, req *admission.Request) logr.Logger {
	if req == nil {
		return base
	}
	return base.WithValues("namespace", req.Namespace, "user", req.UserInfo.Username, "requestID", req.UID)
}

// Handle answers one admission request.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	ctx, cancel := context.WithTimeout(ctx, admissionTimeout)
	defer cancel()
	switch req.Operation {
	case admissionv1.Create:
		return h.handleCreate(ctx, req)
	case admissionv1.Update:
		return h.handleUpdate(req)
	default:
		return admission.Allowed("")
	}
}

// invalid answers with the 422 of newInvalid.
func invalid(name string, errs field.ErrorList) admission.Response {
	return refused(newInvalid(name, errs))
}

// newInvalid makes the 422 that names each wrong field, up to maxErrors.
func newInvalid(name string, errs field.ErrorList) *apierrors.StatusError {
	return apierrors.NewInvalid(kind, name, limitErrors(errs))
}

// refused answers with an unchanged API error, so that the caller gets its code, reason and causes.
func refused(err *apierrors.StatusError) admission.Response {
	status := err.Status()
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Allowed: false, Result: &status}}
}

// answer turns the error of an admission into a response.
func answer(name string, err error) admission.Response {
	var (
		conflict *keystore.ConflictError
		reserved *reservedError
		taken    *keystore.NameTakenError
		invalid  *keystore.InvalidError
		status   *apierrors.StatusError
	)
	switch {
	case (apierrors.IsInvalid(err) || errors.As(err, &invalid)) && errors.As(err, &status):
		return refused(status)
	case errors.As(err, &reserved):
		reservations.Inc()
		return refused(reserved.status(name))
	case errors.As(err, &conflict):
		conflicts.Inc()
		return refused(conflictStatus(name, conflict))
	case errors.As(err, &taken):
		return refused(apierrors.NewAlreadyExists(resource, name))
	case errors.Is(err, context.DeadlineExceeded):
		return refused(apierrors.NewTimeoutError("the key could not be reserved in time, try again: "+err.Error(), 1))
	case apierrors.ReasonForError(err) == metav1.StatusReasonUnknown:
		return admission.Errored(http.StatusInternalServerError, err)
	default:
		return refused(apierrors.NewServiceUnavailable("the key could not be reserved, try again: " + err.Error()))
	}
}

func conflictStatus(name string, conflict *keystore.ConflictError) *apierrors.StatusError {
	err := apierrors.NewConflict(resource, name, conflict)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type:    v1alpha1.CausePendingRun,
		Field:   "spec.concurrencyKey",
		Message: conflict.Pending.RunName,
	}}
	return err
}
