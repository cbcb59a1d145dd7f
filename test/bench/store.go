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
	// A cluster is quiet when at most quietWrites are made during quietFor. An idle cluster only renews Leases.
	quietFor    = time.Second
	quietWrites = 3
	// etcdClients is the number of concurrent writes to etcd.
	etcdClients = 64
)

// kept has the prefixes of the objects that a measure leaves in a namespace.
var kept = []string{
	"batch.jobrun.dev/jobruns/", "batch.jobrun.dev/runkeys/", noopGroup + "/jobruns/", "jobs/", "pods/", "events/",
}

// wipe deletes the objects of a namespace in etcd. Through the API server it would take as long as the measurement.
func (w *world) wipe(ctx context.Context, ns string) error {
	for _, prefix := range kept {
		if err := w.wipePrefix(ctx, registry+prefix+ns+"/"); err != nil {
			return err
		}
	}
	return nil
}

// wipePrefix deletes the keys one by one, because the API server's watches need one change per revision.
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

// quiet waits until the cluster is quiet.
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

// versionsUnder returns how often the keys below a prefix were written since they were created.
func (w *world) versionsUnder(ctx context.Context, prefix string) (float64, error) {
	found, err := w.etcd.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	versions := 0.0
	for _, kv := range found.Kvs {
		versions += float64(kv.Version)
	}
	return versions, nil
}
