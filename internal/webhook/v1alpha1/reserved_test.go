// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// at returns a time after the time of the replica's clock, in the form of a cause.
func at(d time.Duration) string { return wrappers.Epoch.Add(d).UTC().Format(time.RFC3339) }

// A conflict with a run that does not exist says so. The replica's grace is 5 s.
func TestCreateOfAReservedKey(t *testing.T) {
	reservedFor := func(age time.Duration) *v1alpha1.RunKey {
		key := wrappers.MakeRunKey("k").Pending("a").Obj()
		since := metav1.NewTime(wrappers.Epoch.Add(-age))
		key.Spec.Pending.Time = &since
		return key
	}
	untimed := reservedFor(0)
	untimed.Spec.Pending.Time = nil
	cause := func(kind metav1.CauseType, message string) metav1.StatusCause {
		return metav1.StatusCause{Type: kind, Field: "spec.concurrencyKey", Message: message}
	}
	missing := cause(v1alpha1.CauseReservedRun, "a")
	for name, tc := range map[string]struct {
		stored  []client.Object
		want    []metav1.StatusCause
		message string
	}{
		"a create that is under way": {
			stored: []client.Object{reservedFor(2 * time.Second)},
			want:   []metav1.StatusCause{missing, cause(v1alpha1.CauseReservedAt, at(-2*time.Second)), cause(v1alpha1.CauseFreeBy, at(6*time.Second))},
			message: `concurrencyKey "k" of job "job" was reserved 2s ago for run a, which does not exist: ` +
				`its create is under way or was refused, or it was deleted; the reservation ends by ` + at(6*time.Second) + ` at the latest`,
		},
		"one that lasts longer than it should, because the controller was restarted": {
			stored:  []client.Object{reservedFor(time.Minute)},
			want:    []metav1.StatusCause{missing, cause(v1alpha1.CauseReservedAt, at(-time.Minute)), cause(v1alpha1.CauseFreeBy, at(8*time.Second))},
			message: "was reserved 1m0s ago for run a",
		},
		"one without a time": {
			stored:  []client.Object{untimed},
			want:    []metav1.StatusCause{missing, cause(v1alpha1.CauseFreeBy, at(8*time.Second))},
			message: "was reserved for run a",
		},
		"one whose name another run has": {
			stored:  []client.Object{reservedFor(0), wrappers.MakeJobRun("a").Created().Token("another").Obj()},
			want:    []metav1.StatusCause{missing, cause(v1alpha1.CauseReservedAt, at(0)), cause(v1alpha1.CauseFreeBy, at(8*time.Second))},
			message: "was reserved 0s ago for run a",
		},
		"one whose run exists": {
			stored:  []client.Object{reservedFor(0), wrappers.MakeJobRun("a").Created().Obj()},
			want:    []metav1.StatusCause{cause(v1alpha1.CausePendingRun, "a")},
			message: "run a is pending",
		},
	} {
		for mode, changes := range map[string][]func(*admission.Request){"": nil, ", dry run": {dryRun}} {
			t.Run(name+mode, func(t *testing.T) {
				r := newReplica(t, tc.stored...)
				response := r.create(t, plain, changes...)
				if response.Allowed || response.Result.Code != http.StatusConflict || response.Result.Reason != metav1.StatusReasonConflict {
					t.Fatalf("allowed %t: %+v", response.Allowed, response.Result)
				}
				if diff := cmp.Diff(tc.want, response.Result.Details.Causes); diff != "" {
					t.Errorf("causes (-want +got):\n%s", diff)
				}
				if !strings.Contains(response.Result.Message, tc.message) {
					t.Errorf("message %q, want %q in it", response.Result.Message, tc.message)
				}
				if writes := r.store.Writes(); len(writes) > 0 {
					t.Errorf("writes %v", writes)
				}
			})
		}
	}
}

// If it cannot be known whether the run exists, the webhook claims neither.
func TestCreateOfAReservedKeyWhoseRunCannotBeRead(t *testing.T) {
	r := newReplica(t, wrappers.MakeRunKey("k").Pending("a").Obj())
	r.store.Read = func(name client.ObjectKey, o client.Object) error {
		if _, ok := o.(*v1alpha1.JobRun); ok && name.Name == "a" {
			return errors.New("connection refused")
		}
		return nil
	}
	response := r.create(t, plain)
	if response.Allowed || response.Result.Code != http.StatusInternalServerError || response.Result.Details != nil {
		t.Errorf("allowed %t: %+v", response.Allowed, response.Result)
	}
}

// A key whose first run in line does not exist any more is reserved, too.
func TestCreateOfAKeyWithALine(t *testing.T) {
	key := wrappers.MakeRunKey("k").Line("a").Obj()
	for want, stored := range map[metav1.CauseType][]client.Object{
		v1alpha1.CauseReservedRun: {key.DeepCopy()},
		v1alpha1.CausePendingRun:  {key.DeepCopy(), wrappers.MakeJobRun("a").Created().Obj()},
	} {
		response := newReplica(t, stored...).create(t, plain)
		if response.Allowed || response.Result.Details.Causes[0].Type != want || response.Result.Details.Causes[0].Message != "a" {
			t.Errorf("allowed %t: %+v, want the cause %s", response.Allowed, response.Result, want)
		}
		if want == v1alpha1.CauseReservedRun && response.Result.Details.Causes[1].Message != at(0) {
			t.Errorf("causes %v, want %s in the second", response.Result.Details.Causes, at(0))
		}
	}
}
