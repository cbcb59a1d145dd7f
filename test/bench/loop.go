// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// workload is a way to have something executed.
type workload struct {
	name   string
	create func(ns, name string) client.Object
	// begun and done say which objects show that it has begun, or is done, and of what name.
	begun, done sign
}

// sign is what to look for: the objects of a list for which name returns one.
type sign struct {
	list func() client.ObjectList
	name func(client.Object) string
}

// loop is closed: in each of its places, the next is created when the last is done.
type loop struct {
	workload
	places, total int
}

// loopResult is how long it all took, and each took to begin.
type loopResult struct {
	took   time.Duration
	starts []time.Duration
}

func (l loop) run(ctx context.Context, api client.WithWatch, ns string) (result loopResult, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun, err := follow(ctx, api, ns, l.begun)
	if err != nil {
		return result, err
	}
	done, err := follow(ctx, api, ns, l.done)
	if err != nil {
		return result, err
	}
	runtime.GC() // not meanwhile, for what was before
	result.starts = make([]time.Duration, l.total)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for range l.places {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < l.total; i = int(next.Add(1)) - 1 {
				name := fmt.Sprintf("%s-%d", l.name, i)
				sent := time.Now()
				if err := api.Create(ctx, l.create(ns, name)); err != nil {
					return err
				}
				if _, err := done.await(ctx, name); err != nil {
					return err
				}
				started, err := begun.await(ctx, name)
				if err != nil {
					return err
				}
				result.starts[i] = started.Sub(sent)
			}
			return nil
		})
	}
	err = group.Wait()
	result.took = time.Since(begin)
	return result, err
}

// follower notes when it first saw the sign of each name.
type follower struct {
	mu      sync.Mutex
	seen    map[string]time.Time
	waiting map[string]chan struct{}
	ended   chan struct{}
	why     error // valid once ended is closed
}

// errWatchEnded says that the API server ended a watch: the measurement is worth nothing.
var errWatchEnded = errors.New("a watch has ended")

func follow(ctx context.Context, api client.WithWatch, ns string, s sign) (*follower, error) {
	events, err := api.Watch(ctx, s.list(), client.InNamespace(ns))
	if err != nil {
		return nil, err
	}
	f := &follower{seen: map[string]time.Time{}, waiting: map[string]chan struct{}{}, ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		f.why = errWatchEnded
		for event := range events.ResultChan() {
			if event.Type == watch.Error {
				f.why = fmt.Errorf("%w: %w", errWatchEnded, apierrors.FromObject(event.Object))
			}
			f.see(event, s)
		}
	}()
	context.AfterFunc(ctx, events.Stop)
	return f, nil
}

func (f *follower) see(event watch.Event, s sign) {
	now := time.Now()
	object, ok := event.Object.(client.Object)
	if !ok || event.Type == watch.Deleted {
		return
	}
	name := s.name(object)
	if name == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again := f.seen[name]; again {
		return
	}
	f.seen[name] = now
	close(f.channelLocked(name))
}

func (f *follower) channelLocked(name string) chan struct{} {
	if f.waiting[name] == nil {
		f.waiting[name] = make(chan struct{})
	}
	return f.waiting[name]
}

// await waits for the sign of a name, and says when it was seen.
func (f *follower) await(ctx context.Context, name string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f.mu.Lock()
	channel := f.channelLocked(name)
	f.mu.Unlock()
	select {
	case <-channel:
	case <-f.ended:
		return time.Time{}, fmt.Errorf("wait for %s: %w", name, f.why)
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("wait for %s: %w", name, ctx.Err())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[name], nil
}
