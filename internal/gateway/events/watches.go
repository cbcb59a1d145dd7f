// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// maxQueued bounds the changes of a JobRun that a watch has not read yet.
const maxQueued = 64

// SharedWatches returns a client whose watches of single JobRuns get what the one watch of the Hub shows. All else is that of
// api, which must not read from a cache. A watch may leave out states in between, but no deletion, unless another JobRun has got the
// name: then the reader sees that one.
func (s *Streams) SharedWatches(api client.WithWatch) client.WithWatch {
	return sharedWatches{api, s.hub}
}

type sharedWatches struct {
	client.WithWatch
	hub *Hub
}

// Watch watches the JobRun that the options name, from the version that they name.
func (s sharedWatches) Watch(ctx context.Context, list client.ObjectList, options ...client.ListOption) (watch.Interface, error) {
	asked := (&client.ListOptions{}).ApplyOptions(options)
	name, from, one := oneJobRun(list, asked)
	if !one {
		return s.WithWatch.Watch(ctx, list, options...)
	}
	w, at := s.hub.watch(types.NamespacedName{Namespace: asked.Namespace, Name: name}, from)
	if at > from { // The Hub may have passed a change before.
		if err := s.catchUp(ctx, w); err != nil {
			w.Stop()
			return nil, err
		}
	}
	go w.pump(ctx)
	return w, nil
}

// oneJobRun returns the name of the JobRun that the options of a watch select, and the version after which it begins. It returns
// false if they select anything else.
func oneJobRun(list client.ObjectList, asked *client.ListOptions) (name string, from uint64, one bool) {
	if _, ofJobRuns := list.(*v1alpha1.JobRunList); !ofJobRuns || asked.FieldSelector == nil || asked.Raw == nil {
		return "", 0, false
	}
	name, named := asked.FieldSelector.RequiresExactMatch("metadata.name")
	from, err := parseVersion(asked.Raw.ResourceVersion)
	return name, from, named && err == nil && len(asked.FieldSelector.Requirements()) == 1
}

// catchUp adds the state of now to a watch.
func (s sharedWatches) catchUp(ctx context.Context, w *sharedWatch) error {
	run := &v1alpha1.JobRun{}
	err := s.Get(ctx, w.name, run)
	if apierrors.IsNotFound(err) {
		s.hub.end(w)
		return nil
	}
	if err != nil {
		return err
	}
	version, err := parseVersion(run.ResourceVersion)
	if err != nil {
		return err
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	w.add(watch.Event{Type: watch.Modified, Object: run}, version)
	return nil
}

// sharedWatch is a watch of one JobRun. The Hub adds changes, and pump hands them over. The Hub's lock guards queue, passed and
// gone.
type sharedWatch struct {
	hub    *Hub
	name   types.NamespacedName
	queue  []watch.Event
	passed uint64
	// gone means that the reader must list again: the queue has the error that says so, and gets no more.
	gone bool
	// wake has an element if there may be something in the queue.
	wake   chan struct{}
	result chan watch.Event
	stop   sync.Once
	done   chan struct{}
}

// watch adds a watch of a JobRun after a version. It returns the version that the Hub had passed before.
func (h *Hub) watch(name types.NamespacedName, from uint64) (*sharedWatch, uint64) {
	w := &sharedWatch{
		hub: h, name: name, passed: from,
		wake: make(chan struct{}, 1), result: make(chan watch.Event), done: make(chan struct{}),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watches[name] == nil {
		h.watches[name] = map[*sharedWatch]struct{}{}
	}
	h.watches[name][w] = struct{}{}
	return w, h.version
}

// tell adds a change of a JobRun to its watches.
func (h *Hub) tell(run *v1alpha1.JobRun, version uint64, deleted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	watches := h.watches[client.ObjectKeyFromObject(run)]
	if len(watches) == 0 {
		return
	}
	event := watch.Event{Type: watch.Modified, Object: run.DeepCopy()} // The Hub slims its own.
	if deleted {
		event.Type = watch.Deleted
	}
	for w := range watches {
		w.add(event, version)
	}
}

// tellAll adds the states of a list to the watches. Those of a JobRun that is not in the list end: the JobRun may be deleted, or
// younger than the list.
func (h *Hub) tellAll(all []v1alpha1.JobRun) {
	h.mu.Lock()
	listed := map[types.NamespacedName]*v1alpha1.JobRun{}
	for i := range all {
		if name := client.ObjectKeyFromObject(&all[i]); h.watches[name] != nil {
			listed[name] = &all[i]
		}
	}
	for name, watches := range h.watches {
		for w := range watches {
			if listed[name] == nil {
				w.end()
			}
		}
	}
	h.mu.Unlock()
	for _, run := range listed {
		if version, err := parseVersion(run.ResourceVersion); err == nil {
			h.tell(run, version, false)
		}
	}
}

// end makes the reader of a watch list again.
func (h *Hub) end(w *sharedWatch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.end()
}

func (w *sharedWatch) add(event watch.Event, version uint64) {
	if version <= w.passed || w.gone {
		return
	}
	w.passed = version
	last := len(w.queue) - 1
	switch {
	case last >= 0 && uidOf(w.queue[last]) == uidOf(event): // Another JobRun of that name comes after the deletion of this one.
		w.queue[last] = event
	case last+1 == maxQueued:
		w.end()
	default:
		w.queue = append(w.queue, event)
	}
	w.rouse()
}

func uidOf(event watch.Event) types.UID { return event.Object.(*v1alpha1.JobRun).UID }

func (w *sharedWatch) end() {
	expired := apierrors.NewResourceExpired("the gateway has not seen all changes of this JobRun") // a 410
	w.gone, w.queue = true, []watch.Event{{Type: watch.Error, Object: &expired.ErrStatus}}
	w.rouse()
}

func (w *sharedWatch) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// pump hands the changes over until the watch or ctx ends.
func (w *sharedWatch) pump(ctx context.Context) {
	defer close(w.result)
	defer w.Stop()
	for {
		event, has := w.next()
		if !has {
			select {
			case <-w.wake:
				continue
			case <-w.done:
			case <-ctx.Done():
			}
			return
		}
		select {
		case w.result <- event:
		case <-w.done:
			return
		case <-ctx.Done():
			return
		}
		if event.Type == watch.Error {
			return
		}
	}
}

func (w *sharedWatch) next() (watch.Event, bool) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if len(w.queue) == 0 {
		return watch.Event{}, false
	}
	event := w.queue[0]
	w.queue = w.queue[1:]
	return event, true
}

// Stop ends the watch.
func (w *sharedWatch) Stop() {
	w.stop.Do(func() {
		close(w.done)
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		delete(w.hub.watches[w.name], w)
		if len(w.hub.watches[w.name]) == 0 {
			delete(w.hub.watches, w.name)
		}
	})
}

// ResultChan returns the changes. It is closed when the watch ends.
func (w *sharedWatch) ResultChan() <-chan watch.Event { return w.result }

var _ watch.Interface = (*sharedWatch)(nil)
