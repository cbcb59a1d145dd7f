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

// Wait waits for the outcome of a JobRun, a run or a receipt; a receipt's is
// that of the run that stands for it. It survives the end of watches, lost
// connections and restarts of the API server for as long as ctx lasts, with
// pauses of a fifth of a second to twelve seconds between attempts.
//
// A receipt that goes before its outcome was seen, as old ones do, is followed
// to its run.
//
// Errors: *FailedError, *CancelledError (also of a run that was deleted before
// it ended), *NotFoundError (there is no such JobRun, or it went unseen and took
// its outcome with it), ctx's, or a refusal by the API server. With an error
// too, the Outcome says what is known.
func (c *Client) Wait(ctx context.Context, name string, opts ...WaitOption) (Outcome, error) {
	if err := c.checkName(name); err != nil {
		return Outcome{}, err
	}
	return c.await(ctx, &subject{name: name}, gather(opts))
}

// WaitFor waits as Wait does, for the JobRun that a trigger was answered with:
// for that one and not for another one of its name, and even if it ends and is
// deleted before the wait begins.
func (c *Client) WaitFor(ctx context.Context, run *v1alpha1.JobRun, opts ...WaitOption) (Outcome, error) {
	return c.await(ctx, subjectOf(run), gather(opts))
}

func (c *Client) await(ctx context.Context, own *subject, o options) (Outcome, error) {
	w := &waiter{
		client:  c,
		own:     own,
		subject: own,
		report:  o.onProgress,
		state:   o.onState,
		updates: make(chan update),
		done:    make(chan struct{}),
	}
	err := w.wait(ctx)
	return w.outcome(), err
}

// update is what the feed of a subject tells; an error ends the feed.
type update struct {
	of     *subject
	change change
	err    error
}

// waiter waits for the outcome of one trigger.
type waiter struct {
	client *Client
	// own is the trigger's JobRun. It takes over the outcome of whatever run
	// stands for it in the end.
	own *subject
	// subject is whose outcome is waited for: own, or the run that stands for
	// it once own is gone.
	subject *subject
	// runner is the run that stands for own, followed beside it for its progress.
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
	if w.own.end() != "" { // Nothing will come any more.
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

// follow lets the subject's changes come as updates until ctx ends.
func (w *waiter) follow(ctx context.Context, s *subject) {
	feed := w.client.newFeed(s.scope())
	feed.version = s.version()
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

// failure is the error that tells how the subject ended, if not well.
func (w *waiter) failure() error {
	name := w.outcome().Run.Name
	if cancelledAlone(w.subject.seen) {
		name = w.subject.name
	}
	return failure(name, w.subject.seen)
}

// pursue goes on to the run that stands for a receipt that is gone: the trigger's own,
// or the one of a run that lost its place and became a receipt itself.
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
	return true, fmt.Errorf("JobRun %s went unseen, and its outcome with it: %w", s.name, missing(s.name))
}

// followRunner follows the run of a receipt for its progress and its states.
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

// progress reports what is new.
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

// outcome is what is known.
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
