// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

const heartbeatInterval = 15 * time.Second

var (
	// errRefused means that the caller may no longer watch.
	errRefused = errors.New("the caller may no longer watch JobRuns in this namespace")
	// errOver ends the stream of a run that has ended.
	errOver = errors.New("the run has ended")
	// errDrain ends the streams of a gateway that ends.
	errDrain = errors.New("the gateway is shutting down")
)

// stream is one open stream. One goroutine does all its work.
type stream struct {
	streams *Streams
	reader  *reader
	access  Access
	out     *writer
	// run is the name of the JobRun that the stream follows, or empty. The stream ends with the run.
	run      string
	throttle throttle
	// passed is the version up to which the stream has everything but what the throttle holds.
	passed uint64
}

// serve writes the stream until it ends, and returns why.
func (s *stream) serve(ctx context.Context, begin beginning) error {
	s.begin(begin)
	if begin.last {
		return errOver
	}
	c := s.streams.clock
	heartbeat := c.NewTicker(heartbeatInterval)
	defer heartbeat.Stop()
	access := c.NewTicker(AccessInterval())
	defer access.Stop()
	timer := c.NewTimer(heartbeatInterval)
	defer timer.Stop()
	for {
		if err := s.read(ctx); err != nil {
			return err
		}
		s.arm(timer)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.streams.draining:
			return errDrain
		case <-s.reader.wake:
		case <-timer.C():
			s.out.within(s.due)
		case <-heartbeat.C():
			if err := s.read(ctx); err == nil {
				s.out.within(s.beat)
			}
		case <-access.C():
			if err := s.ask(ctx); err != nil {
				return err
			}
		}
	}
}

// begin writes what is before the groups of the reader.
func (s *stream) begin(begin beginning) {
	s.passed = begin.version
	s.out.begin(begin.version)
	s.out.within(func() error {
		if begin.reset != "" {
			s.out.event(frame("reset", encoded(map[string]string{"message": begin.reset})), s.passed)
		}
		return s.passAll(begin.groups)
	})
}

// read writes what the reader has.
func (s *stream) read(ctx context.Context) error {
	for more := true; more; {
		if s.out.err != nil {
			return s.out.err
		}
		var groups []*group
		var version uint64
		var err error
		if groups, version, more, err = s.reader.read(); err != nil {
			return err
		}
		moves := slices.IndexFunc(groups, s.reader.selected.boundIn)
		if moves >= 0 {
			groups = groups[:moves+1]
		}
		if len(groups) > 0 {
			s.out.within(func() error { return s.passAll(groups) })
		}
		if moves >= 0 && s.out.err == nil {
			if err := s.follow(ctx); err != nil {
				return err
			}
			more = true
			continue
		}
		s.passed = max(s.passed, version)
	}
	return s.out.err
}

func (s *stream) passAll(groups []*group) error {
	for _, g := range groups {
		if err := s.pass(g); err != nil {
			return err
		}
	}
	return s.out.err
}

// pass writes the events of a group that the stream selects. It returns errOver after the end of the run that the stream
// follows.
func (s *stream) pass(g *group) error {
	var selected []*event
	for _, e := range g.events {
		if s.reader.selected.has(e) {
			selected = append(selected, e)
		}
	}
	for i, e := range selected {
		upTo := g.before
		if i == len(selected)-1 {
			upTo = g.version
		}
		s.passOne(e, g.before, upTo)
		if s.run != "" && endsRun(e.kind) {
			return errOver
		}
	}
	s.passed = max(s.passed, g.version)
	return s.out.err
}

// passOne writes an event, or holds it back. With it, the client has everything up to a version; without it, up to before.
func (s *stream) passOne(e *event, before, upTo uint64) {
	if e.kind == jobrun.EventProgress && s.throttle.hold(e, before, s.streams.clock.Now()) {
		return
	}
	if held := s.throttle.release(e.run); held != nil {
		s.out.event(held.frame, s.throttle.upTo(before))
	}
	s.out.event(e.frame, s.throttle.upTo(upTo))
}

func endsRun(kind jobrun.EventType) bool {
	switch kind {
	case jobrun.EventComplete, jobrun.EventFail, jobrun.EventCancel, jobrun.EventDelete:
		return true
	default:
		return false
	}
}

// due writes the progress events that were held back for long enough.
func (s *stream) due() error {
	passing := s.throttle.pass(s.streams.clock.Now())
	for i, held := range passing {
		upTo := s.throttle.upTo(s.passed)
		if i < len(passing)-1 {
			upTo = min(upTo, passing[i+1].before)
		}
		s.out.event(held.event.frame, upTo)
	}
	return s.out.err
}

// arm sets the timer to when due has something to do.
func (s *stream) arm(timer clock.Timer) {
	wait := heartbeatInterval
	if due, ok := s.throttle.next(); ok {
		wait = due.Sub(s.streams.clock.Now())
	}
	timer.Reset(max(wait, 0))
}

func (s *stream) beat() error {
	s.out.heartbeat(s.throttle.upTo(s.passed))
	return s.out.err
}

// ask ends the stream if its caller may no longer watch.
func (s *stream) ask(ctx context.Context) error {
	err := s.access.Ask(ctx)
	if err == nil {
		return nil
	}
	s.fail(err)
	return fmt.Errorf("%w: %w", errRefused, err)
}

// fail writes an event with the Status of an error, the last event of a stream.
func (s *stream) fail(err error) {
	status := metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}
	var answer apierrors.APIStatus
	if errors.As(err, &answer) {
		status = answer.Status()
	}
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	s.out.within(func() error {
		s.out.event(frame("error", encoded(status)), 0)
		return s.out.err
	})
}

// follow makes the stream follow the run that stands for its own, which became a receipt. It writes the state of that run.
func (s *stream) follow(ctx context.Context) error {
	had := s.reader.restart()
	run, err := StandIn(ctx, s.streams.api, s.reader.namespace, s.run)
	var groups []*group
	if err == nil {
		s.reader.follow(run.UID)
		groups, err = s.streams.state(s.reader, run, had)
	}
	if err != nil {
		s.fail(err)
		return err
	}
	s.out.within(func() error { return s.passAll(groups) })
	return s.out.err
}

// encoded returns the JSON of a value that always has one.
func encoded(value any) []byte {
	text, _ := json.Marshal(value)
	return text
}
