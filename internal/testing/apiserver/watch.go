// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// change is one write. A nil object does not exist.
type change struct {
	version       int
	before, after client.Object
}

// scope is the set of objects of a list or a watch.
type scope struct {
	resource  schema.GroupResource
	namespace string
	selector  fields.Selector
}

func scopeOf(list client.ObjectList, opts []client.ListOption) scope {
	options := (&client.ListOptions{FieldSelector: fields.Everything()}).ApplyOptions(opts)
	return scope{resourceOf(list), options.Namespace, options.FieldSelector}
}

func (c scope) has(o client.Object) bool {
	if o == nil || resourceOf(o) != c.resource || c.namespace != "" && c.namespace != o.GetNamespace() {
		return false
	}
	set := fields.Set{"metadata.name": o.GetName()}
	if run, ok := o.(*v1alpha1.JobRun); ok {
		set["spec.jobName"], set["spec.concurrencyKey"] = run.Spec.JobName, run.Spec.ConcurrencyKey
		set["status.phase"] = string(run.Status.Phase)
	}
	return c.selector.Matches(set)
}

// stream is a watch.
type stream struct {
	scope

	server *Server
	result chan watch.Event
	coming []watch.Event // delayed by the latency of the Server
}

// Watch implements client.WithWatch, for JobRuns. The options must have a resourceVersion.
func (s *Server) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	w := &stream{scope: scopeOf(list, opts), server: s, result: make(chan watch.Event, 1000)}
	return w, s.serve(ctx, "watch jobruns", func() error {
		from, err := strconv.Atoi((&client.ListOptions{}).ApplyOptions(opts).Raw.ResourceVersion)
		if err != nil {
			return err
		}
		if from < s.forgotten {
			expired := apierrors.NewResourceExpired("too old resource version")
			if !s.TellsLate {
				return expired
			}
			w.result <- watch.Event{Type: watch.Error, Object: &expired.ErrStatus}
			return nil
		}
		for _, c := range s.history {
			if c.version > from {
				w.tell(c)
			}
		}
		s.streams[w] = true
		return nil
	})
}

// IsWatchListSemanticsUnSupported tells reflectors to list instead of asking a watch for the initial state.
func (s *Server) IsWatchListSemanticsUnSupported() bool { return true }

// Cut ends all watches as a lost connection does, after a last event if one is given.
func (s *Server) Cut(last ...watch.Event) {
	defer s.lock()()
	for w := range s.streams {
		for _, e := range last {
			w.result <- e
		}
		w.end()
		close(w.result)
	}
}

// Forget makes all versions before the latest one too old to begin a watch from.
func (s *Server) Forget() { defer s.lock()(); s.forgotten = s.version }

// Watches returns how many watches are open.
func (s *Server) Watches() int { defer s.lock()(); return len(s.streams) }

// tell adds a change to the history, and sends it to all watches.
func (s *Server) tell(c change) {
	s.history = append(s.history, c)
	for w := range s.streams {
		w.tell(c)
	}
}

// tell sends a change as it looks through the watch's selector. An object that the selector matches no more is
// sent as deleted, in its state before the change.
func (w *stream) tell(c change) {
	was, is := w.has(c.before), w.has(c.after)
	event := watch.Event{Type: watch.Modified}
	switch {
	case is:
		if !was {
			event.Type = watch.Added
		}
		event.Object = clone(c.after)
	case was:
		last := clone(c.before)
		last.SetResourceVersion(strconv.Itoa(c.version))
		event = watch.Event{Type: watch.Deleted, Object: last}
	default:
		return
	}
	w.coming = append(w.coming, event)
	if w.server.latency == 0 {
		w.arrive(len(w.coming))
		return
	}
	clock.RealClock{}.AfterFunc(w.server.latency, func() { defer w.server.lock()(); w.arrive(1) })
}

// arrive delivers the next n events, unless the watch has ended.
func (w *stream) arrive(n int) {
	for ; n > 0 && len(w.coming) > 0; n-- {
		w.result <- w.coming[0]
		w.coming = w.coming[1:]
	}
}

func (w *stream) end() {
	delete(w.server.streams, w)
	w.coming = nil
}

// Stop implements watch.Interface.
func (w *stream) Stop() { defer w.server.lock()(); w.end() }

// ResultChan implements watch.Interface.
func (w *stream) ResultChan() <-chan watch.Event { return w.result }
