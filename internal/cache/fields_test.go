// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func TestFields(t *testing.T) {
	key := v1alpha1.ConcurrencyKeyName(wrappers.JobName, "k")
	made := func() *wrappers.JobRunWrapper { return wrappers.MakeJobRun("a").Key("k").IdempotencyKey("i").Created() }
	receipt := func() *wrappers.JobRunWrapper { return wrappers.MakeJobRun("r").Key("k").Skip().CoalescedBy("a", "10") }
	for name, tc := range map[string]struct {
		object client.Object
		want   map[string][]string
	}{
		"a run that is not known": {made().Obj(), map[string][]string{
			FieldHome: {key}, FieldIdempotency: {v1alpha1.IdempotencyKeyName(wrappers.JobName, "i")}, FieldPhase: {"None"},
		}},
		"a run that waits": {made().Pending().Obj(), map[string][]string{
			FieldHome: {key}, FieldIdempotency: {v1alpha1.IdempotencyKeyName(wrappers.JobName, "i")}, FieldPhase: {"Pending"}, FieldJob: {"Pending/job"},
		}},
		"a run that a worker executes": {made().Leased(1, "5").Obj(), map[string][]string{
			FieldHome: {key}, FieldIdempotency: {v1alpha1.IdempotencyKeyName(wrappers.JobName, "i")}, FieldPhase: {"Leased"}, FieldJob: {"Leased/job"},
			FieldHeldByWorker: {wrappers.JobName},
		}},
		"a run that nobody holds": {made().Leased(1, "5").Fenced().Obj(), map[string][]string{
			FieldHome: {key}, FieldIdempotency: {v1alpha1.IdempotencyKeyName(wrappers.JobName, "i")}, FieldPhase: {"Leased"}, FieldJob: {"Leased/job"},
		}},
		"a run that a Job executes": {made().Template().Leased(1, "5").Obj(), map[string][]string{
			FieldHome: {key}, FieldIdempotency: {v1alpha1.IdempotencyKeyName(wrappers.JobName, "i")}, FieldPhase: {"Leased"}, FieldJob: {"Leased/job"},
		}},
		"a run that ended": {made().Leased(1, "5").Ended(v1alpha1.PhaseFailed).Obj(), map[string][]string{
			FieldIdempotency: {v1alpha1.IdempotencyKeyName(wrappers.JobName, "i")},
		}},
		"a run that ended, of a definition": {made().Definition("u").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Obj(), map[string][]string{
			FieldIdempotency: {v1alpha1.IdempotencyKeyName(wrappers.JobName, "i")}, FieldJob: {"Failed/job"},
		}},
		"a run without keys": {wrappers.MakeJobRun("a").Created().Obj(), map[string][]string{
			FieldHome: {"run/a"}, FieldPhase: {"None"},
		}},
		"a run with changed labels": {wrappers.MakeJobRun("a").Key("k").Created().Label(v1alpha1.LabelKey, "c-other").Obj(), map[string][]string{
			FieldHome: {key}, FieldPhase: {"None"},
		}},
		"a run without admission": {wrappers.MakeJobRun("a").Key("k").Obj(), map[string][]string{
			FieldHome: {key}, FieldPhase: {"None"},
		}},
		"a receipt that is not bound": {receipt().Obj(), map[string][]string{
			FieldHome: {key}, FieldAbsorber: {"token/token-a"}, FieldPhase: {"None"},
		}},
		"a receipt that is bound": {receipt().BoundTo("b").Obj(), map[string][]string{
			FieldHome: {key}, FieldAbsorber: {"uid/uid-b"},
		}},
		"a receipt with an outcome": {receipt().BoundTo("b").Settled().Obj(), map[string][]string{
			FieldAbsorber: {"uid/uid-b"},
		}},
		"a receipt that was promoted": {receipt().Pending().Obj(), map[string][]string{
			FieldHome: {key}, FieldPhase: {"Pending"}, FieldJob: {"Pending/job"},
		}},
		"a receipt that was delivered before": {wrappers.MakeJobRun("r").DeliveredAs("a").Obj(), map[string][]string{
			FieldHome: {"run/r"}, FieldAbsorber: {"token/token-a"}, FieldPhase: {"None"},
		}},
		"an idempotency key": {wrappers.MakeIdempotencyKey("i").Owner("a").Obj(), map[string][]string{FieldOwner: {"token-a"}}},
		"a concurrency key":  {wrappers.MakeRunKey("k").Pending("a").Leased("b", 1, "5").Obj(), map[string][]string{}},
		"a Job of a key":     {wrappers.MakeJob(made().Obj(), 1).Obj(), map[string][]string{FieldJobHome: {key}}},
		"a Job of a run without a key": {
			wrappers.MakeJob(wrappers.MakeJobRun("a").Created().Obj(), 1).Obj(), map[string][]string{FieldJobHome: {"run/a"}},
		},
		"a Job of another owner": {&batchv1.Job{}, map[string][]string{}},
		"a Pod of a Job": {
			&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{batchv1.ControllerUidLabel: "u"}}}, map[string][]string{FieldPodJob: {"u"}},
		},
		"a Pod without a Job": {&corev1.Pod{}, map[string][]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string][]string{}
			for _, f := range Fields {
				if reflect.TypeOf(f.Object) != reflect.TypeOf(tc.object) {
					continue
				}
				if values := f.Extract(tc.object); len(values) > 0 {
					got[f.Field] = values
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("index values (-want +got):\n%s", diff)
			}
		})
	}
}
