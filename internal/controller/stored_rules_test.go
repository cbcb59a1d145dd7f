// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clocktesting "k8s.io/utils/clock/testing"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// A JobRun that breaks a newer rule is told of once, however many replicas look at it, and one that breaks none is not.
func TestStoredRulesTellOnce(t *testing.T) {
	store, clock := wrappers.NewStore(nil), clocktesting.NewFakeClock(now.Time)
	refuses := func(_ context.Context, run *v1alpha1.JobRun) (field.ErrorList, error) {
		if run.Name != "broken" {
			return nil, nil
		}
		return field.ErrorList{field.Invalid(field.NewPath("spec", "concurrencyKey"), "", "must not contain tabs")}, nil
	}
	for range 2 {
		r := NewReconciler(store, store, nil, Options{Clock: clock, CheckStored: refuses})
		for _, name := range []string{"broken", "fine"} {
			storedRules{r: r}.check(t.Context(), made(name).Obj())
		}
	}
	events := storedEvents(t, store)
	if len(events) != 1 {
		t.Fatalf("%d Events, want 1: %v", len(events), events)
	}
	e := events[0]
	if e.InvolvedObject.Name != "broken" || e.Reason != "RunBreaksNewerRule" || e.Type != corev1.EventTypeWarning ||
		!strings.Contains(e.Message, "spec.concurrencyKey: Invalid value: \"\": must not contain tabs") {
		t.Errorf("Event %+v", e)
	}
}
