// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// gatewayIdle is how long a stream of events may be silent. The gateway writes a comment each 15 s.
const gatewayIdle = 45 * time.Second

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
	for {
		more, err := f.turn(ctx, tell)
		if !more {
			return nil
		}
		if err := f.pace.retry(ctx, err); err != nil {
			return err
		}
	}
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := f.client.open(ctx, http.MethodGet, "/events", url.Values{"run": {f.name}}, nil)
	if errors.Is(Classify(err), ErrNotFound) { // it was deleted right now
		return true, nil
	}
	if err != nil {
		return true, err
	}
	defer stream.Body.Close()
	silent := time.AfterFunc(gatewayIdle, cancel)
	defer silent.Stop()
	for lines := bufio.NewReader(stream.Body); ; {
		isEvent, err := readEvent(lines)
		if err != nil {
			return true, nil // The next turn tells what there is to tell.
		}
		silent.Reset(gatewayIdle)
		if !isEvent {
			continue
		}
		f.pace.lively()
		if more, err := f.read(ctx, tell); !more || err != nil {
			return more, err
		}
	}
}

// readEvent reads one line of a stream, and reports whether an event begins with it.
func readEvent(lines *bufio.Reader) (bool, error) {
	line, part, err := lines.ReadLine()
	isEvent := bytes.HasPrefix(line, []byte("event: "))
	for part && err == nil {
		_, part, err = lines.ReadLine()
	}
	return isEvent, err
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
