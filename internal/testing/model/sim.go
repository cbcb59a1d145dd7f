// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

// Options of a simulation.
type Options struct {
	// Choices is the schedule.
	Choices []uint16
	// Direct, if set, may pick a step instead of the schedule, to lead a
	// simulation into a corner by hand.
	Direct func([]Step) (Step, bool)
	// Faults bounds how many requests and responses are lost, delayed beyond
	// the patience of their callers, or refused for reasons of their own.
	Faults int
	// Crashes bounds how many processes die.
	Crashes int
	// Patience is how long a request may linger after its caller gave up
	// before it is dropped for good. The API server's own bound is a minute.
	Patience time.Duration
	// Horizon is how long a simulation lasts at most, in its own time.
	Horizon time.Duration
	// MaxSteps bounds the steps after the schedule's end: a system that takes
	// more does not come to rest.
	MaxSteps int
	// AtomicCacheReads lets nothing happen between two cached reads that no
	// other call separates. That is faster, and misses such races.
	AtomicCacheReads bool
}

func (o Options) withDefaults() Options {
	o.Patience = cmp.Or(o.Patience, time.Minute)
	o.Horizon = cmp.Or(o.Horizon, 7*24*time.Hour)
	o.MaxSteps = cmp.Or(o.MaxSteps, 20000)
	return o
}

// Step is one thing that could happen next.
type Step struct {
	// Who does What; for the trace. Detail, if there is any, is added to it.
	Who, What string
	Detail    func() string
	// Weight makes a step more likely than others; 0 means weightDefault.
	Weight int
	// Hostile steps are never taken by choice zero.
	Hostile bool
	// Do does it, without waiting for anything.
	Do func()
}

func (s Step) what() string {
	if s.Detail == nil {
		return s.What
	}
	return s.What + s.Detail()
}

// String names a step as the trace does.
func (s Step) String() string { return s.Who + " " + s.what() }

// Source is something that takes steps of its own.
type Source interface {
	// Steps lists what could happen next, the most benign first.
	Steps() []Step
	// Wake is when time alone gives the source something to do; zero if never.
	Wake() time.Time
}

// Sim is one simulated run of a system. It lives in a bubble of testing/synctest
// (see [Run]): all its goroutines are in it, and so is its time.
//
// The scheduler is the goroutine that calls Run. It moves only while every other
// goroutine is blocked, so whatever it touches needs no lock; what the other
// goroutines touch is guarded by mu.
type Sim struct {
	Server *Server
	Clock  clock.WithTickerAndDelayedExecution

	options   Options
	started   time.Time
	faults    int
	crashes   int
	trace     []traceEntry
	violation error

	sources   []Source
	processes int
	caches    []*Process
	pending   []*call // wait to be executed, oldest first
	held      []*call // were executed, their callers do not know yet
	lingering []*call // lost their callers, may still be applied

	mu      sync.Mutex
	arrived []*call
	panics  []string
	running map[string]int // goroutines of processes, by name
	arrival chan struct{}
}

// NewSim returns a simulation with an empty server. It must be called, and used,
// in a bubble.
func NewSim(options Options) (*Sim, error) {
	server, err := NewServer()
	if err != nil {
		return nil, err
	}
	s := &Sim{
		Server:  server,
		Clock:   clock.RealClock{},
		options: options.withDefaults(),
		running: map[string]int{},
		arrival: make(chan struct{}, 1),
	}
	s.started = s.Clock.Now()
	server.Observe(func(e *Event) { s.note("", "", e, nil) })
	return s, nil
}

// Add adds a source. In a benign schedule, what was added first goes first.
func (s *Sim) Add(source Source) { s.sources = append(s.sources, source) }

// Fail records a violation; the first one counts and ends the simulation. Only
// the scheduler may call it: observers of the server and sources do.
func (s *Sim) Fail(format string, args ...any) {
	if s.violation == nil {
		s.violation = fmt.Errorf(format, args...)
		s.note("", "VIOLATION: "+s.violation.Error(), nil, nil)
	}
}

// failFromProcess records a violation that a goroutine of a process found.
func (s *Sim) failFromProcess(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.panics = append(s.panics, text)
}

// Run takes steps until the schedule has ended and the system has come to rest,
// and returns the first violation, if any, with the trace that led to it.
func (s *Sim) Run() error {
	s.run()
	s.stop()
	if s.violation != nil {
		return fmt.Errorf("%w\n%s", s.violation, s.Trace())
	}
	return nil
}

func (s *Sim) run() {
	steps := 0
	for at := 0; s.violation == nil; at++ {
		s.collect()
		choice, scheduled := uint16(0), at < len(s.options.Choices)
		if scheduled {
			choice = s.options.Choices[at]
		} else if steps++; steps > s.options.MaxSteps {
			s.Fail("the system does not come to rest: %d steps after the end of the schedule", s.options.MaxSteps)
			return
		}
		step, ok := s.pick(s.steps(), choice)
		switch {
		case ok:
			s.note(step.Who, step.what(), nil, nil)
			step.Do()
		case !scheduled:
			return
		}
	}
}

func (s *Sim) pick(steps []Step, choice uint16) (Step, bool) {
	if s.options.Direct != nil {
		if step, ok := s.options.Direct(steps); ok {
			return step, true
		}
	}
	return pick(steps, choice)
}

// collect waits until every goroutine is blocked and queues the calls that they
// made or gave up meanwhile, in an order that does not depend on which ran first.
func (s *Sim) collect() {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.arrived, (*call).compare)
	s.pending = append(s.pending, s.arrived...)
	s.arrived = nil
	slices.SortStableFunc(s.lingering, func(a, b *call) int { return cmp.Or(a.made.Compare(b.made), a.compare(b)) })
	for _, text := range s.panics {
		s.Fail("%s", text)
	}
	select {
	case <-s.arrival:
	default:
	}
}

// pick picks a step. Zero is the first that is not hostile; any other choice is
// as likely to be one step as another of the same weight, and small ones are
// no better than large ones, so that schedules do not change their nature as
// they shrink.
func pick(steps []Step, choice uint16) (Step, bool) {
	if choice == 0 {
		i := slices.IndexFunc(steps, func(step Step) bool { return !step.Hostile })
		if i < 0 {
			return Step{}, false
		}
		return steps[i], true
	}
	total := 0
	for _, step := range steps {
		total += step.weight()
	}
	if total == 0 {
		return Step{}, false
	}
	at := int(uint32(choice)*2654435761>>8) % total
	for _, step := range steps {
		if at -= step.weight(); at < 0 {
			return step, true
		}
	}
	return Step{}, false
}

// Weights of the steps of the simulation itself.
const (
	weightExecute = 16
	weightAnswer  = 8
	weightDeliver = 6
	weightDefault = 2
	weightLeap    = 1
)

func (s Step) weight() int { return cmp.Or(s.Weight, weightDefault) }

// steps lists everything that could happen next, the most benign first: answers
// and events are delivered before calls are executed, calls before anybody
// starts anything new, and time passes when there is nothing else to do.
func (s *Sim) steps() []Step {
	var steps []Step
	for _, c := range s.held {
		steps = append(steps, Step{Who: c.who, What: "hears of: ", Detail: c.String, Weight: weightAnswer, Do: func() { s.answer(c) }})
	}
	steps = s.deliveries(steps)
	for _, c := range s.pending {
		steps = s.executions(steps, c)
	}
	for _, source := range s.sources {
		steps = append(steps, source.Steps()...)
	}
	for _, c := range s.lingering {
		steps = s.lateExecution(steps, c)
	}
	return s.passTime(steps)
}

// deliveries are the events that some cache has yet to see.
func (s *Sim) deliveries(steps []Step) []Step {
	for _, p := range s.caches {
		for _, i := range p.Cache.order {
			lag := i.lag()
			if lag == 0 {
				continue
			}
			steps = append(steps, Step{Who: p.Name, What: "sees ", Detail: i.describeNext, Weight: weightDeliver, Do: i.deliver})
			if lag > 1 {
				steps = append(steps, Step{Who: p.Name, What: "lists again all ", Detail: i.kind.resource.String, Hostile: true, Do: i.relist})
			}
		}
	}
	return steps
}

// passTime lets time pass: until something is due, or on a whim.
func (s *Sim) passTime(steps []Step) []Step {
	elapsed := s.Clock.Now().Sub(s.started)
	left := s.options.Horizon - elapsed
	if left <= 0 {
		return steps
	}
	nothingElse := !slices.ContainsFunc(steps, func(step Step) bool { return !step.Hostile })
	if due, ok := s.due(); ok && nothingElse {
		wait := min(due, left)
		steps = append(steps, Step{What: "time passes", Do: func() { s.sleepUntilCalled(wait) }})
	}
	for _, leap := range [...]time.Duration{time.Second, 15 * time.Second, 100 * time.Second} {
		if leap <= left {
			steps = append(steps, Step{What: "time leaps by ", Detail: leap.String, Weight: weightLeap, Hostile: true, Do: func() { s.sleep(leap) }})
		}
	}
	return steps
}

// due is how long nothing happens unless somebody wakes: a source, or a
// goroutine with a timer of its own, whose time nobody knows.
func (s *Sim) due() (time.Duration, bool) {
	s.mu.Lock()
	waiting := len(s.running) > 0
	s.mu.Unlock()
	due := s.options.Horizon
	now := s.Clock.Now()
	for _, source := range s.sources {
		if at := source.Wake(); !at.IsZero() {
			waiting = true
			due = min(due, max(0, at.Sub(now)))
		}
	}
	return due, waiting
}

func (s *Sim) sleep(d time.Duration) { <-s.Clock.After(d) }

// sleepUntilCalled sleeps for d, or until a goroutine makes a call.
func (s *Sim) sleepUntilCalled(d time.Duration) {
	timer := s.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-s.arrival:
	}
}

// stop ends every process and waits for its goroutines.
func (s *Sim) stop() {
	for len(s.caches) > 0 {
		s.caches[0].Crash()
	}
	for range 10 {
		synctest.Wait()
		if s.mu.Lock(); len(s.running) == 0 {
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.sleep(time.Minute) // they may be in the middle of a backoff
	}
	s.Fail("goroutines of dead processes go on: %v", s.running)
}

// begin and end count the goroutines of processes.
func (s *Sim) begin(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[name]++
}

func (s *Sim) end(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[name]--; s.running[name] == 0 {
		delete(s.running, name)
	}
	select { // let the scheduler see what has become of it
	case s.arrival <- struct{}{}:
	default:
	}
}

type actorKey struct{}

// withActor names whoever makes the calls of a context.
func withActor(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, actorKey{}, name)
}

func actorOf(ctx context.Context) string {
	name, _ := ctx.Value(actorKey{}).(string)
	return name
}
