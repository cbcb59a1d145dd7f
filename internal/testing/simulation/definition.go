// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/model"
)

func newDefinition() *v1alpha1.JobDefinition {
	return &v1alpha1.JobDefinition{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sync"},
		Spec: v1alpha1.JobDefinitionSpec{
			Template: template(Ends),
			// The triggers of a simulation set what they like.
			Overridable: []v1alpha1.OverridableField{
				v1alpha1.OverridableConcurrencyKey, v1alpha1.OverridableCoalesce, v1alpha1.OverridableIdempotencyTTLSeconds,
				v1alpha1.OverridableIdempotencyRelease, v1alpha1.OverridableOnLeaseExpired, v1alpha1.OverridableOnJobLost,
				v1alpha1.OverridableTTLSecondsAfterFinished, v1alpha1.OverridableActiveDeadlineSeconds,
			},
		},
	}
}

// edit creates the definition, changes it as the scenario says, and restores it in the end.
func (s *system) edit(ctx context.Context, users *model.Process) {
	for _, edit := range append([]Edit{{Change: Restore}}, append(s.scenario.Defined, Edit{Change: Restore})...) {
		if edit.After > 0 {
			<-s.Clock.After(edit.After)
		}
		for range 20 { // Until no fault is in the way: a run that is held back for ever is a trigger that is lost.
			if s.change(ctx, users, edit.Change) == nil {
				break
			}
		}
	}
}

func (s *system) change(ctx context.Context, users *model.Process, c Change) error {
	stored := &v1alpha1.JobDefinition{}
	err := users.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "sync"}, stored)
	if apierrors.IsNotFound(err) {
		return users.Client.Create(ctx, newDefinition())
	}
	if err != nil {
		return err
	}
	next := stored.DeepCopy()
	switch c {
	case Remove:
		uid := stored.UID // A late delete must not meet the definition that restores this one.
		return users.Client.Delete(ctx, stored, client.Preconditions{UID: &uid})
	case Suspend:
		next.Spec.Suspend = new(true)
	case Unready:
		next.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionDefinitionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvalidDefinition,
			Message: "?", ObservedGeneration: stored.Generation, LastTransitionTime: metav1.NewTime(s.Clock.Now()),
		}}
		return users.Client.Status().Update(ctx, next)
	case Restore:
		next.Spec = newDefinition().Spec
		if err := users.Client.Update(ctx, next); err != nil {
			return err
		}
		next.Status.Conditions = nil
		return users.Client.Status().Update(ctx, next)
	}
	return users.Client.Update(ctx, next)
}
