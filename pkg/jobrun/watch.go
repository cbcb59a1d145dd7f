// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"iter"
)

// WatchOption changes what Watch tells.
type WatchOption func(*stream)

// WithExisting lets the stream begin with the events of the runs that exist, as
// far as their state tells: a completed run was triggered, leased and completed.
func WithExisting() WatchOption {
	return func(s *stream) { s.existing = true }
}

// Watch follows the selected runs. It reads them once before it returns; the
// stream has what happened since. It ends with ctx, or with a refusal of the API
// server, and the last pair has that error.
//
// The events are differences between states of JobRuns, not Kubernetes Events.
// For each run that still exists, over ended watches, lost connections and
// restarts of the API server, the stream has
//
//   - exactly one EventTrigger, one event of its end, and one EventDelete once
//     it is gone;
//   - each absorbed trigger and each lease exactly once, though the details of
//     those that came and went unseen are lost (see Event.Count);
//   - the latest progress; those in between may be missing.
//
// Of one run, EventTrigger comes first and EventDelete last; its leases come in
// order and before its end. EventCoalesced can come after the lease or the end,
// for triggers are counted a moment later. There is no order between runs. Of a
// run that was deleted while the connection was lost, all but the EventDelete
// may be missing.
//
// A trigger that was delivered before (Idempotent) makes no event, and neither
// does what becomes of a receipt later.
//
// Labels select a run by those it has when it is first seen, and EventCoalesced
// also by those of the receipt. They are compared here: the API server sends
// what the other fields select. The stream keeps the last state of each JobRun
// that it selects in memory.
//
// The stream may be ranged over again after a break: it goes on where it was.
// Only one loop at a time.
func (c *Client) Watch(ctx context.Context, selector Selector, opts ...WatchOption) (iter.Seq2[Event, error], error) {
	s := &stream{feed: c.newFeed(selector.fields()), tracker: newTracker(selector.Labels)}
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

// stream is a Watch.
type stream struct {
	feed     *feed
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

// drain hands the events over. One that was handed over is gone.
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
