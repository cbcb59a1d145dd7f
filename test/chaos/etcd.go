// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/testing/judge"
)

// followed has the prefixes of the etcd keys whose writes are recorded.
var followed = []string{
	"/registry/batch.jobrun.dev/",
	"/registry/jobs/",
	"/registry/pods/",
	"/registry/leases/" + namespacePrefix,
	"/registry/namespaces/" + namespacePrefix,
}

// write is a write that etcd stored.
type write struct {
	judge.Event
	Seen time.Duration // when this process received it
}

// etcdRecorder records writes by watching etcd. The history has no gaps, and the order of etcd's revisions, even if the
// API server or etcd is killed meanwhile.
type etcdRecorder struct {
	client  *clientv3.Client
	clock   *stopwatch
	decoder runtime.Decoder
	stop    context.CancelFunc
	working sync.WaitGroup

	mu     sync.Mutex
	writes []write
	// versions has the revision of each object after the recorded writes, by etcd key.
	versions map[string]int64
	err      error
}

func newEtcdRecorder(ctx context.Context, client *clientv3.Client, scheme *runtime.Scheme, clock *stopwatch) (*etcdRecorder, error) {
	ctx, stop := context.WithCancel(ctx)
	r := &etcdRecorder{
		client: client, clock: clock, stop: stop, versions: map[string]int64{},
		decoder: serializer.NewCodecFactory(scheme).UniversalDeserializer(),
	}
	for _, prefix := range followed {
		now, err := client.Get(ctx, prefix, clientv3.WithPrefix())
		if err != nil {
			stop()
			return nil, fmt.Errorf("read etcd: %w", err)
		}
		for _, kv := range now.Kvs {
			r.versions[string(kv.Key)] = kv.ModRevision
		}
		changes := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(now.Header.Revision+1))
		r.working.Go(func() { r.follow(changes) })
	}
	return r, nil
}

func (r *etcdRecorder) follow(changes clientv3.WatchChan) {
	for response := range changes {
		r.record(response)
	}
}

func (r *etcdRecorder) record(response clientv3.WatchResponse) {
	seen := r.clock.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail(response.Err())
	for _, event := range response.Events {
		old, err := r.decode(event.PrevKv)
		if err == nil && event.Type == clientv3.EventTypePut {
			var current client.Object
			current, err = r.decode(event.Kv)
			r.versions[string(event.Kv.Key)] = event.Kv.ModRevision
			r.add(seen, event.Kv.ModRevision, old, current)
		} else if err == nil {
			delete(r.versions, string(event.Kv.Key))
			r.add(seen, event.Kv.ModRevision, old, nil)
		}
		if err != nil {
			r.fail(fmt.Errorf("%s: %w", event.Kv.Key, err))
		}
	}
}

// fail keeps the first error, because a history with gaps proves nothing.
func (r *etcdRecorder) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *etcdRecorder) add(seen time.Duration, revision int64, old, current client.Object) {
	r.writes = append(r.writes, write{Event: judge.Event{Revision: uint64(revision), Old: old, New: current}, Seen: seen})
}

// decode returns the object of a value. It returns nil for nil.
func (r *etcdRecorder) decode(kv *mvccpb.KeyValue) (client.Object, error) {
	if kv == nil {
		return nil, nil
	}
	object, _, err := r.decoder.Decode(kv.Value, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("decode what the API server stored: %w", err)
	}
	stored, ok := object.(client.Object)
	if !ok {
		return nil, fmt.Errorf("the API server stored a %T", object)
	}
	stored.SetResourceVersion(strconv.FormatInt(kv.ModRevision, 10))
	return stored, nil
}

// complete waits until the last write of every object is recorded.
func (r *etcdRecorder) complete(ctx context.Context) error {
	for {
		missing, err := r.missing(ctx)
		if err == nil && missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the history of etcd is not complete: %s: %w (last error: %w)", missing, ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

// missing names an object whose last write is not recorded yet. It returns "" if there is none.
func (r *etcdRecorder) missing(ctx context.Context) (string, error) {
	stored := map[string]int64{}
	for _, prefix := range followed {
		now, err := r.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return "", err
		}
		for _, kv := range now.Kvs {
			stored[string(kv.Key)] = kv.ModRevision
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return "", r.err
	}
	if maps.Equal(stored, r.versions) {
		return "", nil
	}
	for key, version := range stored {
		if r.versions[key] != version {
			return key, nil
		}
	}
	return strings.Join(slices.Collect(maps.Keys(r.versions)), " "), nil
}

// until returns the writes that were recorded so far, in the order of their revisions.
func (r *etcdRecorder) until() []write {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.writes)
	slices.SortStableFunc(all, func(a, b write) int { return cmp.Compare(a.Revision, b.Revision) })
	return all
}

func (r *etcdRecorder) close() {
	r.stop()
	r.working.Wait()
}
