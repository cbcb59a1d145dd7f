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

// Options configures a simulation.
type Options struct {
	// Choices is the schedule.
	Choices []uint16
	// Direct picks a step instead of the schedule if it returns true. Tests use it to lead a
	// simulation into a corner by hand. It may be nil.
	Direct func([]Step) (Step, bool)
	// Faults bounds how many requests and responses are lost, delayed until their callers give up, or
	// refused by another admission plugin.
	Faults int
	// Crashes bounds how many processes die.
	Crashes int
	// Pauses bounds how often a process stops for a while, and then goes on where it was.
	Pauses int
	// Patience is how long after a call its write may still be applied, if the caller gave up. The
	// default is a minute, which is the API server's own bound.
	Patience time.Duration
	// Horizon bounds the simulated time of a simulation. The default is a week.
	Horizon time.Duration
	// MaxSteps bounds the steps after the schedule's end. A system that takes more steps does not come
	// to rest, which is a violation. The default is 20000.
	MaxSteps int
	// AtomicCacheReads lets nothing happen between two consecutive cached reads of a goroutine. That
	// is faster, and misses the races between such reads.
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
	// Who does What, for the trace. Detail, unless nil, is added to What.
	Who, What string
	Detail    func() string
	// Weight makes a step more likely than others. 0 means weightDefault.
	Weight int
	// Hostile means that choice zero never picks the step.
	Hostile bool
	// Do takes the step. It must not wait for other goroutines.
	Do func()
}

func (s Step) what() string {
	if s.Detail == nil {
		return s.What
	}
	return s.What + s.Detail()
}

// String renders a step as the trace does.
func (s Step) String() string { return s.Who + " " + s.what() }

// Source is a part of the simulated system that offers steps to the scheduler.
type Source interface {
	// Steps lists the steps that the source could take next, the most benign first.
	Steps() []Step
	// Wake returns when the passing of time alone gives the source a step. Zero means never.
	Wake() time.Time
}

// Sim is one simulation of a system. All its goroutines and its clock are in a bubble of
// testing/synctest (see [Run]).
//
// The scheduler is the goroutine that calls Sim.Run. It moves only while every other goroutine is
// blocked, so its own fields need no lock. The fields below mu are shared with other goroutines.
type Sim struct {
	Server *Server
	Clock  clock.WithTickerAndDelayedExecution

	options   Options
	started   time.Time
	faults    int
	crashes   int
	pauses    int
	calm      time.Time
	trace     []traceEntry
	violation error

	fence     *Gateway // asked about the creates of Jobs; may be nil
	sources   []Source
	processes int
	caches    []*Process
	pending   []*call // not executed yet, oldest first
	held      []*call // executed, but not answered yet
	lingering []*call // writes without a caller that may still be executed

	mu      sync.Mutex
	arrived []*call
	panics  []string
	running map[string]int // number of goroutines of processes, by name
	arrival chan struct{}  // wakes the scheduler while it sleeps
}

// NewSim returns a simulation with an empty server. Call it, and use the simulation, in a bubble.
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

// Add adds a source. Choice zero prefers the steps of sources that were added earlier.
func (s *Sim) Add(source Source) { s.sources = append(s.sources, source) }

// Fail records a violation and ends the simulation. Only the first violation is kept. Sources and
// observers of the server may call it, because they run in the scheduler's goroutine. Other goroutines must
// not.
func (s *Sim) Fail(format string, args ...any) {
	if s.violation == nil {
		s.violation = fmt.Errorf(format, args...)
		s.note("", "VIOLATION: "+s.violation.Error(), nil, nil)
	}
}

// failFromProcess is Fail for the goroutines of processes.
func (s *Sim) failFromProcess(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.panics = append(s.panics, text)
}

// Calm returns when the schedule ended; zero while it lasts. From then on, time passes only while nothing else can
// happen.
func (s *Sim) Calm() time.Time { return s.calm }

// Run takes steps until the schedule has ended and the system has come to rest. It returns the first
// violation with the trace that led to it, or nil.
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
		if !scheduled && s.calm.IsZero() {
			s.calm = s.Clock.Now()
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

// collect waits until every goroutine is blocked and queues the calls that they made or gave up
// meanwhile. It sorts them, because the order in which goroutines ran is random.
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

// pick picks a step, or returns false if there is none. Zero picks the first step that is not hostile.
// For any other choice, its hash picks the step, with a probability in proportion to the step's weight.
// Without the hash, a schedule whose numbers shrink would pick the first steps more and more often.
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

// Weights of steps: see Step.Weight.
const (
	weightExecute = 16
	weightAnswer  = 8
	weightDeliver = 6
	weightDefault = 2
	weightLeap    = 1
)

func (s Step) weight() int { return cmp.Or(s.Weight, weightDefault) }

// steps lists everything that could happen next, the most benign first: answers, events of caches,
// pending calls, the steps of sources. Time passes when there is nothing else to do.
func (s *Sim) steps() []Step {
	var steps []Step
	for _, c := range s.held {
		if c.process.paused {
			continue
		}
		steps = append(steps, Step{Who: c.who, What: "hears of: ", Detail: c.String, Weight: weightAnswer, Do: func() { s.answer(c) }})
	}
	steps = s.deliveries(steps)
	for _, c := range s.pending {
		if !c.process.paused {
			steps = s.executions(steps, c)
		}
	}
	for _, source := range s.sources {
		steps = append(steps, source.Steps()...)
	}
	for _, c := range s.lingering {
		steps = s.lateExecution(steps, c)
	}
	return s.passTime(steps)
}

// deliveries adds the events that caches have not seen yet.
func (s *Sim) deliveries(steps []Step) []Step {
	for _, p := range s.caches {
		if p.paused {
			continue
		}
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

// passTime adds the steps that let time pass. A leap by a fixed time is possible at any moment. If nothing
// else can happen, time may also pass until something is due.
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

// due returns how long the scheduler may sleep, and whether there is anything to wait for. It knows when
// sources wake. It does not know the timers of goroutines, so it returns true while any goroutine exists.
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
		s.sleep(time.Minute) // a goroutine may be in the middle of a backoff
	}
	s.Fail("goroutines of dead processes go on: %v", s.running)
}

// begin counts a goroutine of a process.
func (s *Sim) begin(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[name]++
}

// end undoes begin, and wakes the scheduler.
func (s *Sim) end(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[name]--; s.running[name] == 0 {
		delete(s.running, name)
	}
	select {
	case s.arrival <- struct{}{}:
	default:
	}
}

type actorKey struct{}

// withActor names the goroutine that makes the calls with the context.
func withActor(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, actorKey{}, name)
}

func actorOf(ctx context.Context) string {
	name, _ := ctx.Value(actorKey{}).(string)
	return name
}
