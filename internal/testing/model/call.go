// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"time"
)

// errConnection is what a client sees when a request or its answer is lost. It does not tell whether the
// request was executed.
var errConnection = &url.Error{Op: "Do", URL: "https://apiserver", Err: errors.New("http2: client connection lost")}

// call is a request, or a pause, in which a goroutine waits for the scheduler.
type call struct {
	process *Process
	actor   string // the goroutine of the process
	who     string // process and actor
	what    string
	choices []choice
	dynamic func() []choice // replaces choices where they change while the call waits
	writes  bool
	// patience replaces Options.Patience, if it is not 0.
	patience time.Duration
	serve    func() (*Response, error) // executes the request

	made     time.Time
	done     chan struct{} // closed once the caller may go on
	response *Response
	err      error
}

// choice is one way in which the scheduler may deal with a call.
type choice struct {
	name    string
	weight  int
	hostile bool
	fault   bool // counts against Options.Faults
	do      func(*Sim, *call)
}

var (
	executed = choice{weight: weightExecute, do: func(s *Sim, c *call) {
		c.execute(s)
		s.answer(c)
	}}
	answeredSlowly = choice{name: "its answer takes its time", hostile: true, do: func(s *Sim, c *call) {
		c.execute(s)
		s.held = append(s.held, c)
	}}
	requestLost = choice{name: "the request is lost", hostile: true, fault: true, do: func(s *Sim, c *call) {
		c.err = errConnection
		s.answer(c)
	}}
	responseLost = choice{name: "its answer is lost", hostile: true, fault: true, do: func(s *Sim, c *call) {
		c.execute(s)
		c.response, c.err = nil, errConnection
		s.answer(c)
	}}
	callerGivesUp = choice{name: "the caller gives up while it is under way", hostile: true, fault: true, do: func(s *Sim, c *call) {
		s.linger(c)
		c.err = errConnection
		s.answer(c)
	}}
)

var (
	readChoices  = []choice{executed, answeredSlowly, requestLost}
	writeChoices = []choice{executed, answeredSlowly, requestLost, responseLost, callerGivesUp}
	// pauseChoices are for calls that only let other goroutines run.
	pauseChoices = []choice{{weight: weightExecute, do: func(s *Sim, c *call) { s.answer(c) }}}
)

// String renders a call for the trace.
func (c *call) String() string { return c.what }

// detail is what the trace adds to the call.
func (o choice) detail() string {
	if o.name == "" {
		return ""
	}
	return ": " + o.name
}

// compare orders calls that arrived at the same time.
func (c *call) compare(other *call) int {
	return cmp.Or(
		cmp.Compare(c.process.index, other.process.index),
		cmp.Compare(c.actor, other.actor),
		cmp.Compare(c.what, other.what),
	)
}

func (c *call) execute(s *Sim) {
	c.response, c.err = c.serve()
	if c.err != nil || !c.writes { // the server notes the writes
		s.note("", "", c.response.asEvent(), c.err)
	}
}

// do makes a call and waits for its answer.
func (s *Sim) do(ctx context.Context, c *call) (*Response, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	c.actor = actorOf(ctx)
	c.who = c.process.Name + " " + c.actor
	c.made = s.Clock.Now()
	c.done = make(chan struct{})
	if !s.submit(c) {
		return nil, context.Canceled
	}
	select {
	case <-c.done:
		return c.response, c.err
	case <-c.process.dead:
		return nil, context.Canceled
	case <-ctx.Done():
		s.abandon(c)
		return nil, ctx.Err()
	}
}

// submit queues a call. It returns false if the process is dead.
func (s *Sim) submit(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.process.crashed {
		return false
	}
	s.arrived = append(s.arrived, c)
	select {
	case s.arrival <- struct{}{}:
	default:
	}
	return true
}

// abandon forgets a call whose caller stops waiting. A write that was not executed yet lingers.
func (s *Sim) abandon(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.pending, c); i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
		s.linger(c)
	}
	if i := slices.Index(s.arrived, c); i >= 0 {
		s.arrived = slices.Delete(s.arrived, i, i+1)
		s.linger(c)
	}
	if i := slices.Index(s.held, c); i >= 0 {
		s.held = slices.Delete(s.held, i, i+1)
	}
}

// linger keeps a write whose caller has gone: the scheduler may still execute it.
func (s *Sim) linger(c *call) {
	if c.writes {
		s.lingering = append(s.lingering, c)
	}
}

// answer lets the caller go on.
func (s *Sim) answer(c *call) {
	s.held = slices.DeleteFunc(s.held, func(other *call) bool { return other == c })
	close(c.done)
}

// executions adds the ways to deal with a pending call.
func (s *Sim) executions(steps []Step, c *call) []Step {
	choices := c.choices
	if c.dynamic != nil {
		choices = c.dynamic()
	}
	for _, o := range choices {
		if o.fault && s.faults >= s.options.Faults {
			continue
		}
		steps = append(steps, Step{Who: c.who, What: c.what, Detail: o.detail, Weight: o.weight, Hostile: o.hostile, Do: func() {
			s.pending = slices.DeleteFunc(s.pending, func(other *call) bool { return other == c })
			if o.fault {
				s.faults++
			}
			o.do(s, c)
		}})
	}
	return steps
}

// lateExecution adds the execution of a lingering write, until Options.Patience is over.
func (s *Sim) lateExecution(steps []Step, c *call) []Step {
	if s.Clock.Now().Sub(c.made) > cmp.Or(c.patience, s.options.Patience) {
		return steps
	}
	return append(steps, Step{Who: c.who, What: "late: ", Detail: c.String, Hostile: true, Do: func() {
		s.lingering = slices.DeleteFunc(s.lingering, func(other *call) bool { return other == c })
		late := *c
		late.execute(s)
	}})
}
