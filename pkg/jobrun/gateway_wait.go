// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"errors"
	"net/url"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Wait is Client.Wait. It keeps a stream of events open, which counts for the gateway's bound of streams, and reads the JobRun
// after each event.
func (g *GatewayClient) Wait(ctx context.Context, name string, opts ...WaitOption) (Outcome, error) {
	if err := New(nil, g.namespace).checkName(name); err != nil {
		return Outcome{}, err
	}
	return await(ctx, &subject{name: name}, gather(opts), g.feedOf)
}

// WaitFor is Client.WaitFor.
func (g *GatewayClient) WaitFor(ctx context.Context, run *v1alpha1.JobRun, opts ...WaitOption) (Outcome, error) {
	return await(ctx, subjectOf(run), gather(opts), g.feedOf)
}

// gatewayFeed follows one JobRun. The stream of events tells when to read it: it is the stream of the run that stands for a
// receipt, and has only parts of the state.
type gatewayFeed struct {
	client *GatewayClient
	name   string
	seen   *v1alpha1.JobRun
	pace   *pace
}

func (g *GatewayClient) feedOf(s *subject) follower {
	return &gatewayFeed{client: g, name: s.name, pace: newPace()}
}

// follow implements follower.
func (f *gatewayFeed) follow(ctx context.Context, tell func(change) bool) error {
	return f.pace.repeat(ctx, func() (bool, error) { return f.turn(ctx, tell) })
}

// turn reads the JobRun, and then once more after each event until the stream ends. After the end of its run, a receipt gets
// the outcome a moment later, so the next turn reads it again.
func (f *gatewayFeed) turn(ctx context.Context, tell func(change) bool) (more bool, err error) {
	if more, err := f.read(ctx, tell); !more || err != nil {
		return more, err
	}
	if f.seen == nil {
		return true, nil
	}
	more, err = f.client.stream(ctx, url.Values{"run": {f.name}}, "", func(m message) (bool, error) {
		if m.event == "" {
			return true, nil
		}
		f.pace.lively()
		return f.read(ctx, tell)
	})
	if errors.Is(Classify(err), ErrNotFound) { // it was deleted right now
		return true, nil
	}
	return more, err
}

// read tells the state of the JobRun.
func (f *gatewayFeed) read(ctx context.Context, tell func(change) bool) (more bool, err error) {
	run, err := f.client.Get(ctx, f.name)
	gone := errors.Is(err, ErrNotFound)
	if err != nil && !gone {
		return true, err
	}
	f.pace.reached()
	before := f.seen
	switch {
	case gone && before != nil:
		return tell(change{run: before, deleted: true}), nil
	case gone:
		return tell(change{listed: true}), nil
	case before != nil && before.UID == run.UID && before.ResourceVersion == run.ResourceVersion:
		return true, nil
	default:
		f.seen = run
		return tell(change{listed: true, all: []v1alpha1.JobRun{*run}}), nil
	}
}
