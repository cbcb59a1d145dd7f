// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

// quotaOf returns a ResourceQuota of Jobs and, if used is not empty, of JobRuns.
func quotaOf(used, hard string) *corev1.ResourceQuota {
	count := func(of string) corev1.ResourceList {
		list := corev1.ResourceList{"count/jobs.batch": resource.MustParse("1"), corev1.ResourceRequestsCPU: resource.MustParse("1500m")}
		if of != "" {
			list[CountOfJobRuns] = resource.MustParse(of)
		}
		return list
	}
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "q", UID: "u", ResourceVersion: "7", Labels: map[string]string{"theirs": "y"},
			Annotations: map[string]string{"theirs": "y"}, ManagedFields: []metav1.ManagedFieldsEntry{{}},
		},
		Spec:   corev1.ResourceQuotaSpec{Hard: count(hard)},
		Status: corev1.ResourceQuotaStatus{Hard: count(hard), Used: count(used)},
	}
}

// What the cache keeps of a quota gives the same answer as the whole quota.
func TestQuotaRefusal(t *testing.T) {
	scoped, selective := quotaOf("3", "3"), quotaOf("3", "3")
	scoped.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeTerminating}
	selective.Spec.ScopeSelector = &corev1.ScopeSelector{}
	exceeded := func(used, hard string) string {
		const count = "count/jobruns.batch.jobrun.dev="
		return "exceeded quota: q, requested: " + count + "1, used: " + count + used + ", limited: " + count + hard
	}
	for name, tc := range map[string]struct {
		quota *corev1.ResourceQuota
		want  string
	}{
		"with room":                  {quota: quotaOf("2", "3")},
		"that is full":               {quotaOf("3", "3"), exceeded("3", "3")},
		"that is more than full":     {quotaOf("4", "3"), exceeded("4", "3")},
		"in thousands, with room":    {quota: quotaOf("1999", "2k")},
		"in thousands, full":         {quotaOf("2k", "2000"), exceeded("2k", "2k")},
		"of other objects":           {quota: quotaOf("", "")},
		"that is not counted yet":    {quotaOf("", "3"), "status unknown for quota: q, resources: count/jobruns.batch.jobrun.dev"},
		"that is no longer a limit":  {quota: quotaOf("3", "")},
		"with a scope":               {quota: scoped},
		"with a scope by a selector": {quota: selective},
		"without a status":           {quota: &corev1.ResourceQuota{Spec: quotaOf("3", "3").Spec}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := QuotaRefusal(tc.quota); got != tc.want {
				t.Errorf("the quota says %q, want %q", got, tc.want)
			}
			if got := QuotaRefusal(slim(t, tc.quota).(*corev1.ResourceQuota)); got != tc.want {
				t.Errorf("the cache says %q, want %q", got, tc.want)
			}
		})
	}
}

// What the cache keeps of a quota has as much room for Jobs as the whole quota.
func TestRoomForJobs(t *testing.T) {
	jobs := func(used, hard string) *corev1.ResourceQuota {
		list := func(n string) corev1.ResourceList {
			if n == "" {
				return nil
			}
			return corev1.ResourceList{"count/jobs.batch": resource.MustParse(n)}
		}
		return &corev1.ResourceQuota{Status: corev1.ResourceQuotaStatus{Used: list(used), Hard: list(hard)}}
	}
	scoped := jobs("5", "5")
	scoped.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeTerminating}
	for name, tc := range map[string]struct {
		quota *corev1.ResourceQuota
		want  int64
	}{
		"with room":               {jobs("3", "5"), 2},
		"that is full":            {jobs("5", "5"), 0},
		"that is more than full":  {jobs("7", "5"), 0},
		"in thousands":            {jobs("1999", "2k"), 1},
		"that is not counted yet": {jobs("", "5"), 0},
		"of other objects":        {jobs("", ""), math.MaxInt64},
		"with a scope":            {scoped, math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			if got := RoomForJobs(tc.quota); got != tc.want {
				t.Errorf("the quota has room for %d, want %d", got, tc.want)
			}
			if got := RoomForJobs(slim(t, tc.quota).(*corev1.ResourceQuota)); got != tc.want {
				t.Errorf("the cache says %d, want %d", got, tc.want)
			}
		})
	}
}

func TestSlimQuota(t *testing.T) {
	one := resource.MustParse("1")
	jobs := corev1.ResourceList{"count/jobs.batch": one}
	both := func(n string) corev1.ResourceList {
		return corev1.ResourceList{CountOfJobRuns: resource.MustParse(n), "count/jobs.batch": one}
	}
	others := &corev1.ResourceQuota{ObjectMeta: quotaOf("", "").ObjectMeta, Status: corev1.ResourceQuotaStatus{
		Hard: corev1.ResourceList{corev1.ResourcePods: one}, Used: corev1.ResourceList{corev1.ResourcePods: one},
	}}
	identity := metav1.ObjectMeta{Namespace: "n", Name: "q", UID: "u", ResourceVersion: "7"}
	for _, tc := range []struct{ quota, want *corev1.ResourceQuota }{
		{quotaOf("2", "3"), &corev1.ResourceQuota{ObjectMeta: identity, Status: corev1.ResourceQuotaStatus{Hard: both("3"), Used: both("2")}}},
		{quotaOf("", ""), &corev1.ResourceQuota{ObjectMeta: identity, Status: corev1.ResourceQuotaStatus{Hard: jobs, Used: jobs}}},
		{others, &corev1.ResourceQuota{ObjectMeta: identity}},
	} {
		if diff := cmp.Diff(tc.want, slim(t, tc.quota)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// A cluster may have thousands of namespaces, each with a quota.
func TestSlimQuotasAreSmall(t *testing.T) {
	for name, tc := range map[string]struct {
		quota  *corev1.ResourceQuota
		budget int64 // bytes, the cache's own maps included
	}{
		"of JobRuns": {quotaOf("2", "3"), 2500},
		"of others":  {&corev1.ResourceQuota{ObjectMeta: quotaOf("", "").ObjectMeta, Spec: quotaOf("", "").Spec}, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			const quotas = 5000
			text, err := json.Marshal(tc.quota)
			if err != nil {
				t.Fatal(err)
			}
			before := heap()
			store := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{
				toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc,
			})
			for i := range quotas {
				quota := &corev1.ResourceQuota{}
				if err := json.Unmarshal(text, quota); err != nil {
					t.Fatal(err)
				}
				quota.Name = fmt.Sprintf("quota-%d", i)
				if err := store.Add(slim(t, quota)); err != nil {
					t.Fatal(err)
				}
			}
			each := (heap() - before) / quotas
			if each > tc.budget {
				t.Errorf("a quota takes %d bytes, more than %d", each, tc.budget)
			}
			t.Logf("a quota takes %d bytes", each)
			runtime.KeepAlive(store)
		})
	}
}
