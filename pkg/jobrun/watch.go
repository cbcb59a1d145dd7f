// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"iter"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// WatchOption changes the stream of Watch.
type WatchOption func(*stream)

// WithExisting makes the stream begin with the events of the runs that exist, as far as their states show them. For
// example, a completed run was triggered, leased and completed.
func WithExisting() WatchOption {
	return func(s *stream) { s.existing = true }
}

// Watch returns a stream of what happens to the selected runs. It reads the runs before it returns; the stream has what
// happens after that. The stream ends when ctx ends or the API server refuses for good; the last pair has that error.
//
// The events are derived from states of JobRuns. They are not Kubernetes Events. The stream survives the end of watches,
// lost connections and restarts of the API server. For each run it has:
//
//   - exactly one EventTrigger, exactly one event for the end, and exactly one EventDelete once the run is gone;
//   - each absorbed trigger and each lease exactly once. One that came and went unseen has no details; see Event.Count;
//   - the latest progress. Progress in between may be missing.
//
// If a run was deleted while the connection was lost, all its events but EventDelete may be missing.
//
// The events of one run are in order: EventTrigger first, then its leases, then its end, and EventDelete last. Only an
// EventCoalesced may come late, after the lease or the end, because the operator counts triggers a moment later. Events
// of different runs have no order.
//
// A run that is displaced becomes a receipt: instead of its end, the stream has an EventCoalesced of the run that stands
// for it. An Idempotent trigger makes no event, and neither does the outcome or the deletion of a receipt.
//
// The labels of the selector select a run by the labels it has when it is first seen. They also select an EventCoalesced
// by the labels of its receipt. This package compares labels itself: the API server sends every JobRun that matches the
// selector's other fields. The stream keeps the last state of each of them in memory.
//
// After a break, a second range over the stream goes on where the first one stopped. Only one loop may range at a time.
func (c *Client) Watch(ctx context.Context, selector Selector, opts ...WatchOption) (iter.Seq2[Event, error], error) {
	return watchRuns(ctx, c.newFeed(selector.fields()), selector, opts)
}

// lister is a follower of many JobRuns. After list, it tells what happened since then.
type lister interface {
	follower
	list(ctx context.Context) ([]v1alpha1.JobRun, error)
}

func watchRuns(ctx context.Context, feed lister, selector Selector, opts []WatchOption) (iter.Seq2[Event, error], error) {
	s := &stream{feed: feed, tracker: newTracker(selector.Labels)}
	for _, opt := range opts {
		opt(s)
	}
	all, err := s.feed.list(ctx)
	if err != nil {
		return nil, Classify(err)
	}
	s.tracker.take(change{listed: true, all: all})
	if !s.existing {
		s.tracker.events = nil
	}
	return func(yield func(Event, error) bool) { s.run(ctx, yield) }, nil
}

// stream is the state of one Watch.
type stream struct {
	feed     lister
	tracker  *tracker
	existing bool
}

func (s *stream) run(ctx context.Context, yield func(Event, error) bool) {
	if !s.drain(yield) {
		return
	}
	err := s.feed.follow(ctx, func(ch change) bool {
		s.tracker.take(ch)
		return s.drain(yield)
	})
	if err != nil {
		yield(Event{}, err)
	}
}

// drain passes each event to yield once. It returns false when yield does.
func (s *stream) drain(yield func(Event, error) bool) bool {
	for len(s.tracker.events) > 0 {
		event := s.tracker.events[0]
		s.tracker.events = s.tracker.events[1:]
		if !yield(event, nil) {
			return false
		}
	}
	return true
}
