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

// workload is a kind of object that is created and executed.
type workload struct {
	name   string
	create func(ns, name string) client.Object
	// begun and done find the objects that show that the execution has begun or is done.
	begun, done sign
	// times is how often the usual number of objects is executed. 0 means once.
	times int
	// beside starts what executes the objects of a namespace, unless the operator does.
	beside func(ctx context.Context, w *world, ns string) (stop func() error, err error)
}

// sign is an object that shows progress: an object of list for which name returns the name of the workload's object.
type sign struct {
	list func() client.ObjectList
	name func(client.Object) string
}

// loop is a closed loop. In each place, the next object is created when the last one is done.
type loop struct {
	workload
	places, total int
}

// loopResult has the time for all objects, and the time until each one began.
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
	runtime.GC() // So that earlier garbage does not slow the measurement.
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

// follower records when it first saw the sign of each name.
type follower struct {
	mu      sync.Mutex
	seen    map[string]time.Time
	waiting map[string]chan struct{}
	ended   chan struct{}
	why     error // valid once ended is closed
}

// errWatchEnded means that the API server ended a watch. The measurement is then worthless.
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

// await waits for the sign of a name, and returns when it was seen.
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
