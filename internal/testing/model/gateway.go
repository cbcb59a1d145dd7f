// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	webhookerrors "k8s.io/apiserver/pkg/admission/plugin/webhook/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

const (
	// webhookName is the name in config/webhook.
	webhookName = "mjobrun.batch.jobrun.dev"
	// webhookTimeout is timeoutSeconds of config/webhook.
	webhookTimeout = 10 * time.Second
	// User is the name of the user of each request.
	User = "user"
	// requestTimeout is the API server's default timeout of a request.
	requestTimeout = time.Minute
)

// Gateway is the part of the API server that handles the requests of users: first admission by one replica
// of the webhook, then storage. Other steps may happen in between.
type Gateway struct {
	server   *Process // makes the calls of both steps
	replicas []*replica
	kind     *kind
	// Passed is called when a Job is stored that has passed the fence, with the server's revision at which its create
	// arrived. It may be nil.
	Passed func(job *batchv1.Job, arrival uint64)
}

// replica is one replica of the webhook.
type replica struct {
	process *Process
	handler admission.Handler
	claims  admission.Handler // for jobruns/status
	fence   admission.Handler // for jobs
}

// Answer is the API server's answer to a user.
type Answer struct {
	// Run is the object as it was stored, or as a dry run predicts it.
	Run *v1alpha1.JobRun
	// Warnings are those of the webhook.
	Warnings []string
	// Err is not nil if the request failed, or if its answer was lost.
	Err error
}

// NewGateway returns a gateway without replicas, which refuses every request.
func (s *Sim) NewGateway() (*Gateway, error) {
	server, err := s.NewProcess("apiserver")
	if err != nil {
		return nil, err
	}
	k, err := server.Cache.kinds.of(&v1alpha1.JobRun{})
	return &Gateway{server: server, kind: k}, err
}

// Serve makes a process a replica of the webhook until it dies.
func (g *Gateway) Serve(p *Process, handler admission.Handler) {
	g.replicas = append(g.replicas, &replica{process: p, handler: handler})
}

// ServeClaims makes a process for which Serve was called answer the claims of workers, too.
func (g *Gateway) ServeClaims(p *Process, handler admission.Handler) {
	for _, r := range g.replicas {
		if r.process == p {
			r.claims = handler
		}
	}
}

// Create sends a user's request to create a JobRun. The context names the user.
func (g *Gateway) Create(ctx context.Context, run *v1alpha1.JobRun, dryRun bool) Answer {
	return g.do(ctx, admissionv1.Create, run, nil, dryRun)
}

// CreateInTime is Create on an API server that stores the JobRun within its own bound on a create, or never, also if the user has
// gone by then.
func (g *Gateway) CreateInTime(ctx context.Context, run *v1alpha1.JobRun) Answer {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	end, _ := ctx.Deadline()
	return g.do(context.WithValue(ctx, boundKey{}, end), admissionv1.Create, run, nil, false)
}

// boundKey is the key of the time by which the API server has stored what a request creates.
type boundKey struct{}

// patience returns how long the API server may still store what a request creates; 0 for Options.Patience.
func (g *Gateway) patience(ctx context.Context) time.Duration {
	end, bounded := ctx.Value(boundKey{}).(time.Time)
	if !bounded {
		return 0
	}
	return max(end.Sub(g.server.sim.Clock.Now()), 1)
}

// Update sends a user's request to update a JobRun. Old is the version that the user has read.
func (g *Gateway) Update(ctx context.Context, run, old *v1alpha1.JobRun) Answer {
	return g.do(ctx, admissionv1.Update, run, old, false)
}

// UpdateStatus sends a user's request to update the status of a JobRun. Old is the version that the user
// has read.
func (g *Gateway) UpdateStatus(ctx context.Context, run, old *v1alpha1.JobRun) Answer {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := g.decoded(run)
	if err != nil {
		return Answer{Err: apierrors.NewBadRequest(err.Error())}
	}
	if claims(run, old) {
		request, err := g.review(admissionv1.Update, run, old, body, false)
		if err != nil {
			return Answer{Err: err}
		}
		request.SubResource = "status"
		if body, _, err = g.admit(ctx, request, body); err != nil {
			return Answer{Err: err}
		}
	}
	stored, err := g.store(ctx, VerbUpdateStatus, run, body, false)
	return Answer{Run: stored, Err: err}
}

// claims evaluates the matchConditions of the webhook for claims (config/webhook).
func claims(run, old *v1alpha1.JobRun) bool {
	lease := run.Status.Lease
	isGuarded := old.Spec.ConcurrencyKey != "" || (old.Spec.Admission != nil && old.Spec.Admission.Definition != nil)
	if !isGuarded || lease == nil || lease.HolderIdentity == "" || strings.HasPrefix(lease.HolderIdentity, "job/") {
		return false
	}
	entered := run.Status.Phase == v1alpha1.PhaseLeased && old.Status.Phase != v1alpha1.PhaseLeased
	return entered || old.Status.Lease == nil || lease.Generation > old.Status.Lease.Generation
}

func (g *Gateway) do(ctx context.Context, operation admissionv1.Operation, run, old *v1alpha1.JobRun, dryRun bool) Answer {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := g.decoded(run)
	if err != nil {
		return Answer{Err: apierrors.NewBadRequest(err.Error())}
	}
	var warnings []string
	if operation == admissionv1.Create || g.guarded(run, old) {
		request, err := g.review(operation, run, old, body, dryRun)
		if err != nil {
			return Answer{Err: err}
		}
		if body, warnings, err = g.admit(ctx, request, body); err != nil {
			return Answer{Err: err, Warnings: warnings}
		}
	}
	verb := VerbCreate
	if operation == admissionv1.Update {
		verb = VerbUpdate
	}
	stored, err := g.store(ctx, verb, run, body, dryRun)
	return Answer{Run: stored, Warnings: warnings, Err: err}
}

// decoded returns the object as admission sees it: decoded, pruned and defaulted.
func (g *Gateway) decoded(run *v1alpha1.JobRun) ([]byte, error) {
	body, err := g.kind.encode(run)
	if err != nil {
		return nil, err
	}
	obj, err := g.kind.decode(body)
	if err != nil {
		return nil, err
	}
	return marshal(obj)
}

// guarded evaluates the matchCondition of the webhook for updates (config/webhook). The API server calls
// the webhook for no other update.
func (g *Gateway) guarded(run, old *v1alpha1.JobRun) bool {
	if !reflect.DeepEqual(run.Spec, old.Spec) {
		return true
	}
	return slices.ContainsFunc([]string{v1alpha1.LabelJobName, v1alpha1.LabelKey, v1alpha1.LabelDisposition, v1alpha1.LabelExecutor},
		func(label string) bool { return run.Labels[label] != old.Labels[label] })
}

func (g *Gateway) review(operation admissionv1.Operation, run, old *v1alpha1.JobRun, body []byte, dryRun bool) (admission.Request, error) {
	resource := metav1.GroupVersionResource{Group: g.kind.gvk.Group, Version: g.kind.gvk.Version, Resource: g.kind.resource.Resource}
	gvk := metav1.GroupVersionKind(g.kind.gvk)
	request := admissionv1.AdmissionRequest{
		UID:  uuid.NewUUID(),
		Kind: gvk, Resource: resource, RequestKind: &gvk, RequestResource: &resource,
		Name: run.Name, Namespace: run.Namespace, Operation: operation,
		UserInfo: authenticationv1.UserInfo{Username: User},
		Object:   runtime.RawExtension{Raw: body},
		DryRun:   ptr.To(dryRun),
	}
	if old != nil {
		raw, err := g.kind.encode(old)
		if err != nil {
			return admission.Request{}, err
		}
		request.OldObject.Raw = raw
	}
	return admission.Request{AdmissionRequest: request}, nil
}

// admit sends the request to the replica that the scheduler picks, and applies the patch of its answer.
func (g *Gateway) admit(ctx context.Context, request admission.Request, body []byte) ([]byte, []string, error) {
	var response admission.Response
	for again := true; again; {
		picked, resend, err := g.pickReplica(ctx, request)
		if err != nil {
			return nil, nil, err
		}
		if response, err = picked.call(ctx, request); err != nil {
			return nil, nil, apierrors.NewInternalError(fmt.Errorf("failed calling webhook %q: failed to call webhook: %w", webhookName, err))
		}
		again = resend
	}
	if !response.Allowed {
		return nil, response.Warnings, webhookerrors.ToStatusErr(nameOfWebhook(request), response.Result)
	}
	if len(response.Patch) == 0 {
		return body, response.Warnings, nil
	}
	patch, err := jsonpatch.DecodePatch(response.Patch)
	if err != nil {
		return nil, response.Warnings, apierrors.NewInternalError(err)
	}
	if body, err = patch.Apply(body); err != nil {
		return nil, response.Warnings, apierrors.NewInternalError(err)
	}
	return body, response.Warnings, nil
}

func nameOfWebhook(request admission.Request) string {
	if request.Kind.Kind == "Job" {
		return executor.FenceName
	}
	return webhookName
}

// pickReplica waits until the scheduler picks a replica. The scheduler may also decide that the replica's
// answer is lost. Then resend is true, and the same request must be sent again.
func (g *Gateway) pickReplica(ctx context.Context, request admission.Request) (picked *replica, resend bool, err error) {
	c := &call{process: g.server, what: "admission of " + request.Kind.Kind + " " + request.Name}
	c.dynamic = func() []choice {
		g.replicas = slices.DeleteFunc(g.replicas, func(r *replica) bool { return r.process.Crashed() })
		if len(g.replicas) == 0 {
			return []choice{{name: "no replica can be reached", do: noReplica}}
		}
		choices := []choice{{name: "no replica can be reached", hostile: true, fault: true, do: noReplica}}
		for _, r := range g.replicas {
			pick := func(again bool) func(*Sim, *call) {
				return func(s *Sim, c *call) {
					picked, resend = r, again
					s.answer(c)
				}
			}
			choices = append(choices,
				choice{name: "at " + r.process.Name, weight: weightExecute / len(g.replicas), do: pick(false)},
				choice{name: "at " + r.process.Name + ", whose answer is lost, so it is sent again", hostile: true, fault: true, do: pick(true)})
		}
		return choices
	}
	_, err = g.server.sim.do(ctx, c)
	return picked, resend, err
}

func noReplica(s *Sim, c *call) {
	c.err = apierrors.NewInternalError(fmt.Errorf("failed calling webhook %q: no endpoints available", webhookName))
	s.answer(c)
}

// call lets the replica handle the request. It stops waiting when the API server would, or when the
// replica dies.
func (r *replica) call(ctx context.Context, request admission.Request) (admission.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	answers := make(chan admission.Response, 1)
	r.process.Go("admit("+request.Name+" of "+actorOf(ctx)+")", func(replicaCtx context.Context) {
		// When the caller gives up, the connection ends, and with it the context of the request.
		replicaCtx, stop := context.WithCancel(replicaCtx)
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		handler := r.handler
		switch {
		case request.SubResource == "status":
			handler = r.claims
		case request.Kind.Kind == "Job":
			handler = r.fence
		}
		response := handler.Handle(replicaCtx, request)
		if err := response.Complete(request); err != nil {
			response = admission.Errored(500, err)
		}
		answers <- response
	})
	select {
	case response := <-answers:
		return response, nil
	case <-r.process.dead:
		return admission.Response{}, errors.New("connection refused")
	case <-ctx.Done():
		return admission.Response{}, ctx.Err()
	}
}

// store stores the object after admission: at once, late or never.
func (g *Gateway) store(ctx context.Context, verb Verb, run *v1alpha1.JobRun, body []byte, dryRun bool) (*v1alpha1.JobRun, error) {
	r := &Request{Verb: verb, Namespace: run.Namespace, Name: run.Name, Body: body, kind: g.kind}
	if dryRun {
		r.dryRun = []string{metav1.DryRunAll}
	}
	refused := choice{name: "a later admission plugin refuses it", hostile: true, fault: true, do: func(s *Sim, c *call) {
		c.err = apierrors.NewForbidden(g.kind.resource, run.Name, errors.New("refused by a later admission plugin"))
		s.answer(c)
	}}
	response, err := g.server.sim.do(ctx, &call{
		process: g.server, what: "stores: " + r.String(), writes: !dryRun, patience: g.patience(ctx),
		choices: []choice{executed, answeredSlowly, responseLost, callerGivesUp, refused},
		serve:   func() (*Response, error) { return g.server.sim.Server.Serve(r) },
	})
	if err != nil {
		return nil, err
	}
	stored := &v1alpha1.JobRun{}
	response.into(stored)
	return stored, nil
}
