// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/decision"
)

// Reconcile triggers what the schedules of a definition ask for, writes its status and trims its history. Any number of
// processes may do so at once: the name of a tick's JobRun is a lock, and the status is written by compare-and-swap.
func (d *definitions) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if d.Shares != nil {
		defer d.Shares.Enter()()
	}
	if !d.owns(req.NamespacedName) {
		return reconcile.Result{}, nil
	}
	definition := &v1alpha1.JobDefinition{}
	if err := d.Client.Get(ctx, req.NamespacedName, definition); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if definition.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	if !d.statuses.isShown(idOf(definition), definition.UID, definition.ResourceVersion) {
		return reconcile.Result{RequeueAfter: staleRetry}, nil
	}
	after, err := d.reconcile(ctx, definition)
	switch {
	case errors.Is(err, errStale):
		log.FromContext(ctx).V(1).Info("Observing again", "reason", err.Error())
		return reconcile.Result{RequeueAfter: staleRetry}, nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, err
	default:
		return reconcile.Result{RequeueAfter: decision.Sooner(after, definitionRecheck)}, nil
	}
}

// reconcile returns the time until the definition must be looked at again. The status is written before a failed trigger is
// reported, because other ticks may have succeeded.
func (d *definitions) reconcile(ctx context.Context, definition *v1alpha1.JobDefinition) (time.Duration, error) {
	o, ended, err := d.observe(ctx, definition)
	if err != nil {
		return 0, err
	}
	due := o.DueTicks()
	results, delayed, failed := d.trigger(ctx, definition, due, o.Now)
	status := o.Status(due, results)
	written, err := d.writeStatus(ctx, definition, status)
	if err != nil {
		return 0, errors.Join(failed, err)
	}
	d.report(definition, results)
	trimmed, err := d.trimHistory(ctx, definition, ended)
	next := decision.NextTick(&status, metav1.NewTime(d.Clock.Now()))
	return decision.Sooner(decision.Sooner(next, written), decision.Sooner(trimmed, delayed)), errors.Join(failed, err)
}

// observe returns what the decision about a definition needs, and the ended runs that it completed.
func (d *definitions) observe(ctx context.Context, definition *v1alpha1.JobDefinition) (
	o decision.Definition, ended []*v1alpha1.JobRun, err error,
) {
	name := client.ObjectKeyFromObject(definition)
	o = decision.Definition{Now: metav1.NewTime(d.Clock.Now()), Definition: definition}
	o.LastEnd = d.notes.count(name, o.Now.Time) // before the lists, so no later event is missed
	o.Reason, o.Message = d.notes.check(name, definition, d.CheckDefinition)
	if o.Waiting, err = d.countRuns(ctx, definition, v1alpha1.PhasePending); err != nil {
		return o, nil, err
	}
	if o.Executing, err = d.countRuns(ctx, definition, v1alpha1.PhaseLeased); err != nil {
		return o, nil, err
	}
	for _, phase := range []v1alpha1.Phase{v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled} {
		runs, err := d.list(ctx, definition.Namespace, cache.FieldJob, cache.JobRuns(definition.Name, phase))
		if err != nil {
			return o, nil, err
		}
		ended = append(ended, runs...)
	}
	o.LastEnd = decision.LatestEnd(append(ended, o.LastEnd)...)
	return o, ended, nil
}

func (d *definitions) countRuns(ctx context.Context, definition *v1alpha1.JobDefinition, phase v1alpha1.Phase) (int, error) {
	var runs v1alpha1.JobRunList
	err := d.Client.List(ctx, &runs, client.InNamespace(definition.Namespace),
		client.MatchingFields{cache.FieldJob: cache.JobRuns(definition.Name, phase)}, client.UnsafeDisableDeepCopy)
	return len(runs.Items), err
}

// writeStatus stores the status of a definition if it has changed. News of schedules and conditions are stored at once,
// counters alone at most once per countPeriod. left is the time until they may be stored; 0 if nothing is left to store.
func (d *definitions) writeStatus(ctx context.Context, definition *v1alpha1.JobDefinition, status v1alpha1.JobDefinitionStatus) (
	left time.Duration, err error,
) {
	if apiequality.Semantic.DeepEqual(definition.Status, status) {
		return 0, nil
	}
	name := client.ObjectKeyFromObject(definition)
	if !decision.MustTellNow(&definition.Status, &status) {
		if left = d.notes.writeLeft(name, d.Clock.Now()); left > 0 {
			return left, nil
		}
	}
	next := definition.DeepCopy()
	next.Status = status
	err = d.Client.Status().Update(ctx, next)
	switch {
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
		return 0, fmt.Errorf("%w: JobDefinition %s: %w", errStale, name, err)
	case err != nil:
		return 0, fmt.Errorf("write the status of JobDefinition %s: %w", name, err)
	}
	d.statuses.stored(next)
	d.notes.wrote(name, d.Clock.Now())
	return 0, nil
}
