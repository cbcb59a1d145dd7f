// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Wait waits for the outcome of a JobRun, run or receipt. A receipt takes over the outcome of the run that stands for it.
// If the receipt is deleted before its outcome was seen, as old receipts are, Wait follows its run.
//
// Until ctx ends, Wait survives the end of watches, lost connections and restarts of the API server. It pauses for 200 ms
// to 12 s between attempts.
//
// Errors, with an Outcome that has what was seen:
//   - *FailedError: the run failed.
//   - *CancelledError: the run was cancelled, or deleted before it ended.
//   - *NotFoundError: the JobRun does not exist, or was deleted and its outcome was not seen.
//   - *ValidationError: the name is not valid.
//   - the error of ctx, or the API server's refusal.
func (c *Client) Wait(ctx context.Context, name string, opts ...WaitOption) (Outcome, error) {
	if err := c.checkName(name); err != nil {
		return Outcome{}, err
	}
	return await(ctx, &subject{name: name}, gather(opts), c.feedOf)
}

// WaitFor is like Wait, for the JobRun that a trigger returned. It never waits for another JobRun of that name. It sees
// the outcome even if the JobRun ended and was deleted shortly before the call.
func (c *Client) WaitFor(ctx context.Context, run *v1alpha1.JobRun, opts ...WaitOption) (Outcome, error) {
	return await(ctx, subjectOf(run), gather(opts), c.feedOf)
}

// follower calls tell with each change of a subject until tell returns false; then it returns nil. It returns an error when ctx
// ends or when the server refuses for good.
type follower interface {
	follow(ctx context.Context, tell func(change) bool) error
}

// feedOf returns the feed of one JobRun, from the last state that was seen of it.
func (c *Client) feedOf(s *subject) follower {
	feed := c.newFeed(s.scope())
	feed.version = s.version()
	return feed
}

func await(ctx context.Context, own *subject, o options, feed func(*subject) follower) (Outcome, error) {
	w := &waiter{
		feed: feed, own: own, subject: own, report: o.onProgress, state: o.onState,
		updates: make(chan update), done: make(chan struct{}),
	}
	err := w.wait(ctx)
	return w.outcome(), err
}

// update is a change of a subject, or the error that ended the subject's feed.
type update struct {
	of     *subject
	change change
	err    error
}

// waiter waits for the outcome of one trigger.
type waiter struct {
	// feed returns what follows a subject.
	feed func(*subject) follower
	// own is the trigger's JobRun.
	own *subject
	// subject is the JobRun whose outcome ends the wait: own or, once own is gone, the run that stands for it.
	subject *subject
	// runner is the run that stands for own. It is followed for its progress and states only.
	runner     *subject
	stopRunner context.CancelFunc

	report   func(v1alpha1.Progress)
	reported *v1alpha1.Progress
	state    func(*v1alpha1.JobRun)

	feeds   sync.WaitGroup
	updates chan update
	done    chan struct{}
}

func (w *waiter) wait(ctx context.Context) error {
	if w.own.end() != "" {
		w.progress(w.own)
		return w.failure()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer w.feeds.Wait()
	defer close(w.done)
	defer cancel()
	w.follow(ctx, w.subject)
	for {
		u := <-w.updates
		switch u.of {
		case w.subject:
			if ended, err := w.advance(ctx, u); ended {
				return err
			}
		case w.runner:
			if u.err == nil {
				w.runner.take(u.change)
				w.progress(w.runner)
			}
		}
	}
}

// follow sends the subject's changes to updates until ctx ends.
func (w *waiter) follow(ctx context.Context, s *subject) {
	feed := w.feed(s)
	tell := func(u update) bool {
		select {
		case w.updates <- u:
			return true
		case <-w.done:
			return false
		}
	}
	w.feeds.Go(func() {
		err := feed.follow(ctx, func(ch change) bool { return tell(update{of: s, change: ch}) })
		tell(update{of: s, err: err})
	})
}

// advance reports whether the wait has ended.
func (w *waiter) advance(ctx context.Context, u update) (ended bool, err error) {
	if u.err != nil {
		return true, fmt.Errorf("wait for JobRun %s: %w", w.own.name, u.err)
	}
	switch presence := w.subject.take(u.change); {
	case w.subject.end() != "":
		w.progress(w.subject)
		return true, w.failure()
	case presence != present:
		return w.pursue(ctx, presence)
	}
	w.progress(w.subject)
	w.followRunner(ctx)
	return false, nil
}

// failure returns the error for the subject's outcome, or nil if it completed.
func (w *waiter) failure() error {
	name := w.outcome().Run.Name
	if cancelledAlone(w.subject.seen) {
		name = w.subject.name
	}
	return failure(name, w.subject.seen)
}

// pursue follows the run that stands for a subject that is gone. The subject is the trigger's receipt, or a run that was
// displaced and became a receipt.
func (w *waiter) pursue(ctx context.Context, gone presence) (ended bool, err error) {
	s := w.subject
	if s.seen == nil && s == w.own {
		return true, missing(s.name)
	}
	if s.seen != nil {
		if ref, ok := standIn(s.seen); ok {
			w.subject = referredTo(ref)
			w.follow(ctx, w.subject)
			return false, nil
		}
	}
	if gone == deleted {
		return true, &CancelledError{RunName: s.name, Reason: reasonRunDeleted, Message: "it was deleted before it ended"}
	}
	return true, fmt.Errorf("JobRun %s is gone and its outcome was not seen: %w", s.name, missing(s.name))
}

// followRunner follows the run that stands for own, if a callback wants its progress or states.
func (w *waiter) followRunner(ctx context.Context) {
	if w.report == nil && w.state == nil || w.subject != w.own || w.own.seen == nil {
		return
	}
	ref, ok := standIn(w.own.seen)
	if !ok || w.runner != nil && w.runner.uid == ref.UID {
		return
	}
	if w.stopRunner != nil {
		w.stopRunner()
	}
	ctx, w.stopRunner = context.WithCancel(ctx)
	w.runner = referredTo(ref)
	w.follow(ctx, w.runner)
}

// progress calls the callbacks with a state.
func (w *waiter) progress(s *subject) {
	if s.seen == nil {
		return
	}
	if w.state != nil {
		w.state(s.seen)
	}
	if w.report == nil {
		return
	}
	if p := s.seen.Status.Progress; p != nil && !reflect.DeepEqual(p, w.reported) {
		w.reported = p
		w.report(*p.DeepCopy())
	}
}

// outcome returns what is known so far.
func (w *waiter) outcome() Outcome {
	if w.own.seen == nil {
		return Outcome{}
	}
	outcome := Outcome{JobRun: w.own.seen, Disposition: dispositionOf(w.own.seen), Run: runOf(w.own.seen)}
	if w.subject.seen != nil {
		outcome.Run, outcome.Output = runOf(w.subject.seen), w.subject.seen.Status.Output
	}
	return outcome
}
