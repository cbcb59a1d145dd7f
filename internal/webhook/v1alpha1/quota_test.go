// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"errors"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// quotaOf returns a quota of a namespace that limits JobRuns.
func quotaOf(namespace, used, hard string) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "runs"},
		Status: corev1.ResourceQuotaStatus{
			Used: corev1.ResourceList{cache.CountOfJobRuns: resource.MustParse(used)},
			Hard: corev1.ResourceList{cache.CountOfJobRuns: resource.MustParse(hard)},
		},
	}
}

// A quota that is full refuses a JobRun before it takes a key.
func TestCreateWithAQuota(t *testing.T) {
	const (
		idempotent = "metadata: {name: b}\nspec: {jobName: job, idempotencyKey: i}\n"
		keyless    = "metadata: {name: b}\nspec: {jobName: job}\n"
		message    = `jobruns.batch.jobrun.dev "b" is forbidden: exceeded quota: runs, requested: count/jobruns.batch.jobrun.dev=1, ` +
			`used: count/jobruns.batch.jobrun.dev=3, limited: count/jobruns.batch.jobrun.dev=3`
	)
	full, half := quotaOf(wrappers.Namespace, "3", "3"), quotaOf(wrappers.Namespace, "2", "3")
	waiting := wrappers.MakeRunKey("k").Pending("a").Obj()
	for name, tc := range map[string]struct {
		manifest       string
		cached, stored []client.Object
		code           int32 // 0: admitted
		liveReads      int
	}{
		"no quota":                 {manifest: plain},
		"one with room":            {manifest: plain, cached: objects(half), stored: objects(half)},
		"one that is full":         {manifest: plain, cached: objects(full), stored: objects(full), code: http.StatusForbidden, liveReads: 1},
		"one of another namespace": {manifest: plain, cached: objects(quotaOf("other", "3", "3")), stored: objects(quotaOf("other", "3", "3"))},
		"one that was full":        {manifest: plain, cached: objects(full), stored: objects(half), liveReads: 1},
		"one that was deleted":     {manifest: plain, cached: objects(full), liveReads: 1},
		"a full one, and an idempotencyKey": {
			manifest: idempotent, cached: objects(full), stored: objects(full), code: http.StatusForbidden, liveReads: 1,
		},
		// Without a key there is nothing to reserve. The API server refuses the JobRun.
		"a full one, and no key": {manifest: keyless, cached: objects(full), stored: objects(full)},
		"a full one, and a run that waits": {
			manifest: plain, cached: objects(full, waiting, wrappers.MakeJobRun("a").Created().Obj()), stored: objects(full, waiting),
			code: http.StatusConflict,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplicaWith(t, tokens("token-b"), copies(tc.cached), copies(tc.stored))
			liveReads := 0
			r.live.Read = func(_ client.ObjectKey, o client.Object) error {
				if _, ok := o.(*corev1.ResourceQuota); ok {
					liveReads++
				}
				return nil
			}
			response := r.create(t, tc.manifest)
			if response.Allowed != (tc.code == 0) || !response.Allowed && response.Result.Code != tc.code {
				t.Fatalf("allowed %t: %+v", response.Allowed, response.Result)
			}
			if tc.code == http.StatusForbidden && (response.Result.Message != message || response.Result.Reason != metav1.StatusReasonForbidden) {
				t.Errorf("reason %s, message %q", response.Result.Reason, response.Result.Message)
			}
			if writes := r.live.Writes(); tc.code != 0 && len(writes) > 0 {
				t.Errorf("writes %v", writes)
			}
			if liveReads != tc.liveReads {
				t.Errorf("%d live reads of quotas, want %d", liveReads, tc.liveReads)
			}
		})
	}
}

// If quotas cannot be read, the API server decides.
func TestCreateWithAQuotaThatCannotBeRead(t *testing.T) {
	full := quotaOf(wrappers.Namespace, "3", "3")
	for name, fail := range map[string]func(replica){
		"live": func(r replica) {
			r.live.Read = func(_ client.ObjectKey, o client.Object) error {
				if _, ok := o.(*corev1.ResourceQuota); ok {
					return errors.New("connection refused")
				}
				return nil
			}
		},
		"in the cache": func(r replica) {
			r.store.ReadList = func(client.ObjectList, *client.ListOptions) error { return errors.New("not synced") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplicaWith(t, tokens("token-b"), objects(full.DeepCopy()), objects(full.DeepCopy()))
			fail(r)
			if response := r.create(t, plain); !response.Allowed {
				t.Errorf("refused: %+v", response.Result)
			}
		})
	}
}

func objects(all ...client.Object) []client.Object { return all }

func copies(all []client.Object) []client.Object {
	fresh := make([]client.Object, len(all))
	for i, o := range all {
		fresh[i] = o.DeepCopyObject().(client.Object)
	}
	return fresh
}
