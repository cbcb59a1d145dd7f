// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
)

// storedRules tells of each JobRun without outcome that breaks a rule that is newer than itself. Such a JobRun goes on as before,
// because the API server judges a stored value again only when it changes. But nobody can trigger it again as it is.
//
// It looks once, when a process starts: a newer rule comes with a newer version, whose replicas start.
type storedRules struct {
	r       *Reconciler
	objects cache.Informers
}

// Start looks at the JobRuns of the cache.
func (s storedRules) Start(ctx context.Context) error {
	if !s.objects.WaitForCacheSync(ctx) {
		return nil // The process stops.
	}
	runs, err := storeOf(ctx, s.r.Client, s.objects, &v1alpha1.JobRun{})
	if err != nil { // Nothing depends on what it tells, so the process goes on.
		log.FromContext(ctx).WithName(controllerName).Error(err, "Could not look for JobRuns that break a newer rule")
		return nil
	}
	for _, object := range runs.List() {
		if run, ok := object.(*v1alpha1.JobRun); ok && !run.HasOutcome() && ctx.Err() == nil {
			s.check(ctx, run)
		}
	}
	return nil
}

func (s storedRules) check(ctx context.Context, run *v1alpha1.JobRun) {
	logger := log.FromContext(ctx).WithName(controllerName).WithValues("namespace", run.Namespace, "run", run.Name)
	errs, err := s.r.CheckStored(ctx, run)
	if err == nil && len(errs) == 0 {
		return
	}
	told := false
	if err == nil {
		told, err = s.tell(ctx, run, errs)
	}
	switch {
	case err != nil:
		logger.Error(err, "Could not tell whether a stored JobRun breaks a newer rule")
	case told:
		logger.Info("A stored JobRun breaks a newer rule, and goes on", "problems", errs.ToAggregate().Error())
	}
}

// tell creates the Event of a JobRun. All replicas look, and the one that creates the Event tells. So the name of the Event comes from
// the JobRun alone. Once the API server has dropped the Event, the next process that starts tells again.
func (s storedRules) tell(ctx context.Context, run *v1alpha1.JobRun, errs field.ErrorList) (told bool, err error) {
	event, err := s.r.Events.series.event(decision.NewerRuleEvent(run, errs.ToAggregate().Error()))
	if err != nil {
		return false, err
	}
	event.Name += ".newer-rule"
	err = s.r.Client.Create(ctx, event)
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	return err == nil, err
}
