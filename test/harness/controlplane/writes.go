// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const registry = "/registry/"

// Writes is a number of revisions that etcd stored.
type Writes struct{ Puts, Deletes int }

// Total returns the number of puts and deletes.
func (w Writes) Total() int { return w.Puts + w.Deletes }

// Plus returns the sum of w and other.
func (w Writes) Plus(other Writes) Writes {
	return Writes{Puts: w.Puts + other.Puts, Deletes: w.Deletes + other.Deletes}
}

// WriteCounter counts all writes to etcd since its creation. It follows etcd's own history, so it neither misses a write
// nor counts one twice.
type WriteCounter struct {
	client *clientv3.Client
	cancel context.CancelFunc

	mu       sync.Mutex
	changed  *sync.Cond
	revision int64
	writes   map[string]Writes // by etcd key
	err      error
}

// NewWriteCounter starts to count. Close ends the count.
func (cp *ControlPlane) NewWriteCounter(ctx context.Context) (*WriteCounter, error) {
	client, err := cp.EtcdClient()
	if err != nil {
		return nil, err
	}
	revision, err := currentRevision(ctx, client)
	if err != nil {
		client.Close()
		return nil, err
	}
	watchContext, cancel := context.WithCancel(context.Background())
	counter := newWriteCounter(revision)
	counter.client, counter.cancel = client, cancel
	// The watch covers all of etcd, so it shows each revision. That tells when the count is up to date.
	go counter.follow(client.Watch(watchContext, "", clientv3.WithPrefix(), clientv3.WithRev(revision+1)))
	return counter, nil
}

func newWriteCounter(revision int64) *WriteCounter {
	counter := &WriteCounter{revision: revision, writes: map[string]Writes{}}
	counter.changed = sync.NewCond(&counter.mu)
	return counter
}

// Close ends the count.
func (c *WriteCounter) Close() error {
	c.cancel()
	return c.client.Close()
}

// Under returns the writes below a prefix of the API server's keys, for example "batch.jobrun.dev/runkeys/default/". It
// includes every write that was stored before the call.
func (c *WriteCounter) Under(ctx context.Context, prefix string) (Writes, error) {
	var sum Writes
	err := c.each(ctx, func(key string, writes Writes) {
		if strings.HasPrefix(key, registry+prefix) {
			sum = sum.Plus(writes)
		}
	})
	return sum, err
}

// ByResource returns the writes per resource, for example "batch.jobrun.dev/jobruns", "pods" or "jobs". It includes every
// write that was stored before the call.
func (c *WriteCounter) ByResource(ctx context.Context) (map[string]Writes, error) {
	sums := map[string]Writes{}
	err := c.each(ctx, func(key string, writes Writes) {
		resource := resourceOf(key)
		sums[resource] = sums[resource].Plus(writes)
	})
	return sums, err
}

// InNamespace returns the writes per resource in a namespace. It includes every write that was stored before the call.
func (c *WriteCounter) InNamespace(ctx context.Context, namespace string) (map[string]Writes, error) {
	sums := map[string]Writes{}
	err := c.each(ctx, func(key string, writes Writes) {
		if resource := resourceOf(key); strings.HasPrefix(key, registry+resource+"/"+namespace+"/") {
			sums[resource] = sums[resource].Plus(writes)
		}
	})
	return sums, err
}

// each visits all keys once the count is up to date.
func (c *WriteCounter) each(ctx context.Context, visit func(key string, writes Writes)) error {
	revision, err := currentRevision(ctx, c.client)
	if err != nil {
		return err
	}
	if err := c.await(ctx, revision); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, writes := range c.writes {
		visit(key, writes)
	}
	return nil
}

// await waits until the revision is counted.
func (c *WriteCounter) await(ctx context.Context, revision int64) error {
	defer context.AfterFunc(ctx, c.wake)()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.revision < revision {
		if c.err != nil {
			return fmt.Errorf("count the writes to etcd: %w", c.err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the count of writes is at revision %d of %d: %w", c.revision, revision, ctx.Err())
		}
		c.changed.Wait()
	}
	return nil
}

func (c *WriteCounter) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed.Broadcast()
}

func (c *WriteCounter) follow(responses clientv3.WatchChan) {
	for response := range responses {
		c.count(response)
	}
}

func (c *WriteCounter) count(response clientv3.WatchResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	if err := response.Err(); err != nil {
		c.err = err
		return
	}
	for _, event := range response.Events {
		writes := c.writes[string(event.Kv.Key)]
		if event.Type == clientv3.EventTypePut {
			writes.Puts++
		} else {
			writes.Deletes++
		}
		c.writes[string(event.Kv.Key)] = writes
		c.revision = event.Kv.ModRevision
	}
}

func currentRevision(ctx context.Context, client *clientv3.Client) (int64, error) {
	response, err := client.Get(ctx, registry, clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("revision of etcd: %w", err)
	}
	return response.Header.Revision, nil
}

// resourceOf returns the resource of a key: /registry/RESOURCE/... or, for a custom resource, /registry/GROUP/RESOURCE/...
func resourceOf(key string) string {
	parts := strings.SplitN(strings.TrimPrefix(key, registry), "/", 3)
	if len(parts) > 1 && strings.Contains(parts[0], ".") {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}
