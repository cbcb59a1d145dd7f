// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// createTimeout is the API server's bound on a create. A Job that passed the fence is stored by then, or never.
const createTimeout = 34 * time.Second

// ServeFence makes a process for which Serve was called answer the creates of Jobs, too. Without a process that does so, the
// API server stores every Job.
func (g *Gateway) ServeFence(p *Process, handler admission.Handler) {
	for _, r := range g.replicas {
		if r.process == p {
			r.fence = handler
		}
	}
	g.server.sim.fence = g
}

// fences reports whether the API server asks the fence about a request.
func (s *Sim) fences(r *Request) bool {
	return s.fence != nil && r.Verb == VerbCreate && r.kind.gvk.Kind == "Job"
}

// createJob sends the create of a Job. It may arrive late, even after its process has died. When it arrives, the API server
// asks the fence, and then stores the Job at once, late or never.
func (p *Process) createJob(ctx context.Context, r *Request) (*Response, error) {
	answers := make(chan answerToCreate, 1)
	arrived := &call{process: p, what: r.String(), writes: true, choices: []choice{arrives, requestLost, callerGivesUp}}
	arrived.serve = func() (*Response, error) {
		arrival := p.sim.Server.Revision()
		p.sim.fence.server.Go("create("+r.Name+" of "+actorOf(ctx)+")", func(ctx context.Context) {
			response, err := p.sim.fence.createJob(ctx, r, arrival)
			answers <- answerToCreate{response, err}
		})
		return nil, nil
	}
	if _, err := p.sim.do(ctx, arrived); err != nil {
		return nil, err
	}
	select {
	case answer := <-answers:
		return answer.response, answer.err
	case <-p.dead:
		return nil, context.Canceled
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type answerToCreate struct {
	response *Response
	err      error
}

// arrives is the arrival of a request that the API server then handles in a goroutine of its own.
var arrives = choice{weight: weightExecute, do: func(s *Sim, c *call) {
	_, c.err = c.serve()
	s.answer(c)
}}

// createJob handles the create of a Job in the API server.
func (g *Gateway) createJob(ctx context.Context, r *Request, arrival uint64) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	if _, _, err := g.admit(ctx, fenceRequest(r), r.Body); err != nil {
		return nil, err
	}
	return g.server.sim.do(ctx, &call{
		process: g.server, what: "stores: " + r.String(), writes: true, patience: createTimeout,
		choices: []choice{executed, answeredSlowly, responseLost, callerGivesUp},
		serve: func() (*Response, error) {
			response, err := g.server.sim.Server.Serve(r)
			if err == nil && g.Passed != nil {
				g.Passed(response.row.typed.(*batchv1.Job), arrival)
			}
			return response, err
		},
	})
}

func fenceRequest(r *Request) admission.Request {
	gvk := metav1.GroupVersionKind(batchv1.SchemeGroupVersion.WithKind("Job"))
	resource := metav1.GroupVersionResource(batchv1.SchemeGroupVersion.WithResource("jobs"))
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: uuid.NewUUID(), Kind: gvk, Resource: resource, RequestKind: &gvk, RequestResource: &resource,
		Name: r.Name, Namespace: r.Namespace, Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: r.Body},
	}}
}
