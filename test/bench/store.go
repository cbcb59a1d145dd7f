// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

const (
	registry = "/registry/"
	// quietFor and quietWrites say when a cluster has nothing to do: all that is
	// written then are the Leases of those who wait.
	quietFor    = time.Second
	quietWrites = 3
	// etcdClients is how many write to etcd at once.
	etcdClients = 64
)

// kept are the prefixes of what a benchmark leaves in a namespace.
var kept = []string{
	"batch.jobrun.dev/jobruns/", "batch.jobrun.dev/runkeys/", noopGroup + "/jobruns/", "jobs/", "pods/", "events/",
}

// wipe empties a namespace at once, in etcd itself: by the API server it would
// take as long as what is measured.
func (w *world) wipe(ctx context.Context, ns string) error {
	for _, prefix := range kept {
		if err := w.wipePrefix(ctx, registry+prefix+ns+"/"); err != nil {
			return err
		}
	}
	return nil
}

// wipePrefix deletes the keys one by one: the API server's watches take no two
// changes of one revision.
func (w *world) wipePrefix(ctx context.Context, prefix string) error {
	found, err := w.etcd.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(etcdClients)
	for _, kv := range found.Kvs {
		group.Go(func() error {
			_, err := w.etcd.Delete(ctx, string(kv.Key))
			return err
		})
	}
	return group.Wait()
}

// quiet waits until nobody writes anything any more.
func (w *world) quiet(ctx context.Context) error {
	before, err := w.revision(ctx)
	if err != nil {
		return err
	}
	return await(ctx, "the cluster to become quiet", func() (bool, error) {
		if err := pause(ctx, quietFor); err != nil {
			return false, err
		}
		now, err := w.revision(ctx)
		written := now - before
		before = now
		return written <= quietWrites, err
	})
}

func (w *world) revision(ctx context.Context) (int64, error) {
	response, err := w.etcd.Get(ctx, registry, clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return response.Header.Revision, nil
}
