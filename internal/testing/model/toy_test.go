// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// toy is a small operator for the tests of the model. Its webhook allows every request. Its controller
// creates one Job for each JobRun and reports its end. Each field is a flaw that a test can give it.
type toy struct {
	ownNames      bool // names a Job after the controller, so that two controllers create two Jobs
	trustsAnswers bool // after a create without an answer, creates a Job of another name
	trustsCache   bool // fails the run if the cache does not show its Job
}

// start starts a controller of the toy.
func (o toy) start(p *Process) (Source, error) {
	c := NewController(p, 1, func(ctx context.Context, name string) (reconcile.Result, error) {
		return reconcile.Result{}, o.reconcile(ctx, p, client.ObjectKey{Namespace: "ns", Name: name})
	})
	enqueue := func(old, new client.Object, _ bool) {
		for _, obj := range []client.Object{old, new} {
			if obj != nil {
				c.Queue.Add(obj.GetName())
			}
		}
	}
	if err := p.Cache.Watch(&v1alpha1.JobRun{}, enqueue); err != nil {
		return nil, err
	}
	return c, p.Cache.Watch(&batchv1.Job{}, enqueue)
}

func (o toy) reconcile(ctx context.Context, p *Process, name client.ObjectKey) error {
	run := &v1alpha1.JobRun{}
	if err := p.Client.Get(ctx, name, run); err != nil {
		return client.IgnoreNotFound(err)
	}
	job := &batchv1.Job{}
	err := p.Client.Get(ctx, name, job)
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return err
	case run.Status.Phase == "":
		if err := o.createJob(ctx, p, run); err != nil {
			return err
		}
		run.Status.Phase = v1alpha1.PhaseLeased
		run.Status.Lease = &v1alpha1.RunLease{HolderIdentity: "toy", Generation: 1}
		return p.Client.Status().Update(ctx, run)
	case run.Status.Phase != v1alpha1.PhaseLeased:
		return nil
	case err == nil && executor.IsFinished(job):
		run.Status.Phase, run.Status.FinishedGeneration = v1alpha1.PhaseCompleted, 1
		return p.Client.Status().Update(ctx, run)
	case err != nil && o.trustsCache:
		run.Status.Phase, run.Status.FinishedGeneration = v1alpha1.PhaseFailed, 1
		return p.Client.Status().Update(ctx, run)
	}
	return nil
}

func (o toy) createJob(ctx context.Context, p *Process, run *v1alpha1.JobRun) error {
	template := jobTemplate()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: run.Name, Namespace: run.Namespace}, Spec: template.Spec}
	if o.ownNames && strings.HasPrefix(p.Name, "controller-1") {
		job.Name += "-x"
	}
	err := p.Client.Create(ctx, job)
	if apierrors.ReasonForError(err) == metav1.StatusReasonUnknown && err != nil && o.trustsAnswers {
		job.Name += "-x"
		job.ResourceVersion = ""
		err = p.Client.Create(ctx, job)
	}
	return client.IgnoreAlreadyExists(err)
}

// simulateToy runs the toy with two controllers and two replicas of the webhook. It returns the trace.
func simulateToy(o toy, options Options, runs int) (string, error) {
	s, err := NewSim(options)
	if err != nil {
		return "", err
	}
	gateway, err := s.NewGateway()
	if err != nil {
		return "", err
	}
	for n := range 2 {
		s.AddMachine(fmt.Sprintf("webhook-%d", n), func(p *Process) (Source, error) {
			gateway.Serve(p, admission.HandlerFunc(func(context.Context, admission.Request) admission.Response { return admission.Allowed("") }))
			return nil, p.Cache.Watch(&v1alpha1.JobRun{}, nil)
		})
	}
	for n := range 2 {
		s.AddMachine(fmt.Sprintf("controller-%d", n), o.start)
	}
	s.AddWorld(0)
	user, err := s.NewProcess("user")
	if err != nil {
		return "", err
	}
	for n := range runs {
		user.Go(fmt.Sprintf("create %d", n), func(ctx context.Context) {
			gateway.Create(ctx, &v1alpha1.JobRun{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("run-%d", n), Namespace: "ns"},
				Spec:       v1alpha1.JobRunSpec{JobName: "sync"},
			}, false)
		})
	}
	s.Server.Observe(func(e *Event) { checkToy(s, e) })
	err = s.Run()
	if err == nil {
		err = toyRests(s)
	}
	return s.Trace(), err
}

// checkToy checks after each write that there are no more Jobs than runs, and that no run has failed.
func checkToy(s *Sim, e *Event) {
	switch obj := e.New.(type) {
	case *batchv1.Job:
		if jobs, runs := len(stored[*batchv1.Job](s.Server)), len(stored[*v1alpha1.JobRun](s.Server)); jobs > runs {
			s.Fail("%d Jobs for %d runs", jobs, runs)
		}
	case *v1alpha1.JobRun:
		if obj.Status.Phase == v1alpha1.PhaseFailed {
			s.Fail("%s failed", obj.Name)
		}
	}
}

// toyRests checks at the end that each run that was created has completed.
func toyRests(s *Sim) error {
	for _, run := range stored[*v1alpha1.JobRun](s.Server) {
		if run.Status.Phase != v1alpha1.PhaseCompleted {
			return fmt.Errorf("%s rests in phase %q\n%s", run.Name, run.Status.Phase, s.Trace())
		}
	}
	return nil
}
