// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestResourceOf(t *testing.T) {
	for key, want := range map[string]string{
		"/registry/pods/default/a":                         "pods",
		"/registry/namespaces/default":                     "namespaces",
		"/registry/batch.jobrun.dev/jobruns/default/a.b.c": "batch.jobrun.dev/jobruns",
		"compact_rev_key":                                  "compact_rev_key",
	} {
		if got := resourceOf(key); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

func TestWriteCounterWaitsForRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counter := newWriteCounter(3)
		counted := false
		go func() {
			if err := counter.await(t.Context(), 5); err != nil {
				t.Error(err)
			}
			counted = true
		}()
		for _, revision := range []int64{4, 5} {
			synctest.Wait()
			if counted {
				t.Errorf("counted before revision %d", revision)
			}
			event := &clientv3.Event{Kv: &mvccpb.KeyValue{Key: []byte("/registry/pods/a/b"), ModRevision: revision}}
			counter.count(clientv3.WatchResponse{Events: []*clientv3.Event{event}})
		}
		synctest.Wait()
		if want := (Writes{Puts: 2}); !counted || counter.writes["/registry/pods/a/b"] != want {
			t.Errorf("got %v, %+v, want %+v", counted, counter.writes, want)
		}
	})
}

func TestWriteCounterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counter := newWriteCounter(3)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- counter.await(ctx, 4) }()
		synctest.Wait() // Now it waits.
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was cancelled", err)
		}
		counter.count(clientv3.WatchResponse{Canceled: true, CompactRevision: 4})
		if err := counter.await(t.Context(), 4); err == nil || !strings.Contains(err.Error(), "compacted") {
			t.Errorf("got %v, want that the history was compacted", err)
		}
	})
}
