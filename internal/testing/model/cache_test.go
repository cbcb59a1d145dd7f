// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const byJob = "byJob"

// keyCache returns a cache of RunKeys, its informer, and the list to which it adds each change it sees.
func keyCache(t *testing.T, server *Server) (*Cache, *informer, *[]string) {
	t.Helper()
	cache, err := server.NewCache()
	if err != nil {
		t.Fatal(err)
	}
	seen := &[]string{}
	version := func(obj client.Object) string {
		if obj == nil {
			return "-"
		}
		return obj.GetName() + obj.GetResourceVersion()
	}
	note := func(old, new client.Object, initial bool) {
		text := version(old) + ">" + version(new)
		if initial {
			text = "at first " + text
		}
		*seen = append(*seen, text)
	}
	if err := cache.Watch(&v1alpha1.RunKey{}, note); err != nil {
		t.Fatal(err)
	}
	if err := cache.IndexField(t.Context(), &v1alpha1.RunKey{}, byJob, func(obj client.Object) []string {
		return []string{obj.(*v1alpha1.RunKey).Spec.JobName}
	}); err != nil {
		t.Fatal(err)
	}
	return cache, cache.order[0], seen
}

// writeKeys creates a and b, changes a, deletes a and creates it again. That makes five events.
func writeKeys(t *testing.T, c client.Client) {
	t.Helper()
	a, b, again := someKey("a"), someKey("b"), someKey("a")
	b.Spec.JobName = "other"
	for _, write := range []func() error{
		func() error { return c.Create(t.Context(), a) },
		func() error { return c.Create(t.Context(), b) },
		func() error {
			a.Spec.Pending.Generation = 7
			return c.Update(t.Context(), a)
		},
		func() error { return c.Delete(t.Context(), a) },
		func() error { return c.Create(t.Context(), again) },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
}

func cachedNames(t *testing.T, cache *Cache, opts ...client.ListOption) []string {
	t.Helper()
	var list v1alpha1.RunKeyList
	if err := cache.List(context.Background(), &list, opts...); err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for i := range list.Items {
		names = append(names, list.Items[i].Name+list.Items[i].ResourceVersion)
	}
	slices.Sort(names)
	return names
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestCacheSeesPrefixes(t *testing.T) {
	server := newTestServer(t)
	cache, informer, seen := keyCache(t, server)
	writeKeys(t, server.Client())
	for _, want := range [][]string{{}, {"a91"}, {"a91", "b92"}, {"a93", "b92"}, {"b92"}, {"a95", "b92"}} {
		expect(t, "cached", cachedNames(t, cache), want...)
		if informer.lag() > 0 {
			informer.deliver()
		}
	}
	expect(t, "changes", *seen, "->a91", "->b92", "a91>a93", "a94>-", "->a95")
}

func TestCacheRelists(t *testing.T) {
	server := newTestServer(t)
	cache, informer, seen := keyCache(t, server)
	writeKeys(t, server.Client())
	informer.deliver()
	informer.relist()
	expect(t, "cached", cachedNames(t, cache), "a95", "b92")
	expect(t, "changes", *seen, "->a91", "a91>a95", "->b92")
	if informer.lag() != 0 {
		t.Error("after a relist, the cache still lags")
	}
}

func TestCacheSyncsLate(t *testing.T) {
	server := newTestServer(t)
	cache, informer, seen := keyCache(t, server)
	writeKeys(t, server.Client())
	cache.Sync(2)
	expect(t, "cached", cachedNames(t, cache), "a93", "b92")
	if informer.lag() != 2 {
		t.Errorf("lag %d", informer.lag())
	}
	informer.deliver()
	expect(t, "changes", *seen, "at first ->a93", "at first ->b92", "a94>-")
}

func TestCacheReads(t *testing.T) {
	server := newTestServer(t)
	cache, _, _ := keyCache(t, server)
	writeKeys(t, server.Client())
	cache.Sync(0)
	expect(t, "by job", cachedNames(t, cache, client.InNamespace("ns"), client.MatchingFields{byJob: "other"}), "b92")
	expect(t, "elsewhere", cachedNames(t, cache, client.InNamespace("elsewhere")))

	key := &v1alpha1.RunKey{}
	if err := cache.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "c"}, key); !apierrors.IsNotFound(err) {
		t.Errorf("c: %v", err)
	}
	if err := cache.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "b"}, key); err != nil {
		t.Fatal(err)
	}
	key.Spec.Pending.Token = "changed"
	again := &v1alpha1.RunKey{}
	if err := cache.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "b"}, again); err != nil || again.Spec.Pending.Token != "t" {
		t.Errorf("a reader changed the cache: %v", again.Spec.Pending)
	}
	if err := cache.List(t.Context(), &v1alpha1.RunKeyList{}, client.MatchingFields{"unknown": "x"}); err == nil {
		t.Error("a list by a field without an index succeeded")
	}
	if err := cache.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "a"}, &v1alpha1.JobRun{}); err == nil || apierrors.IsNotFound(err) {
		t.Errorf("a read of a kind that is not watched: %v", err)
	}
}
