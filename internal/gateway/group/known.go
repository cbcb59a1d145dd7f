// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// maxKnown bounds the definitions that are remembered.
	maxKnown = 16
	// maxAbsent bounds the jobs that are known to have none, and absentTTL is how long that is believed.
	maxAbsent = 1024
	absentTTL = 5 * time.Second
	// longestHold is how long triggers wait for the answer to another one that names the definition of their job.
	longestHold = 200 * time.Millisecond
)

// whole is a trigger that has the concurrencyKey and the coalesce of the definition of its job, if the caller sent none and the
// definition is known.
type whole struct {
	Trigger

	// givenKey and givenCoalesce report whether the definition gave them.
	givenKey, givenCoalesce bool
}

// isCompleted reports whether the trigger has something of its definition.
func (w *whole) isCompleted() bool { return w.givenKey || w.givenCoalesce }

// asSent returns the trigger as the caller sent it.
func (w *whole) asSent() Trigger {
	t := w.Trigger
	if w.givenKey {
		t.Spec.ConcurrencyKey = ""
	}
	if w.givenCoalesce {
		t.Spec.Coalesce = ""
	}
	return t
}

// complete returns a trigger with the key and the coalesce that a definition gives it. If the definition refuses the trigger, or
// gives it an idempotencyKey, the trigger stays as it is.
func complete(t Trigger, by Definition) whole {
	w := whole{Trigger: t}
	spec, errs := by.Complete(&t.Spec, t.Labels)
	if len(errs) > 0 || spec.IdempotencyKey != "" {
		return w
	}
	w.givenKey, w.givenCoalesce = t.Spec.ConcurrencyKey != spec.ConcurrencyKey, t.Spec.Coalesce != spec.Coalesce
	w.Spec.ConcurrencyKey, w.Spec.Coalesce = spec.ConcurrencyKey, spec.Coalesce
	return w
}

// wholeOf completes a trigger by the definition that is known of its job. It need not be the latest one: what the trigger shares is
// completed again before it is sent, and the webhook refuses a key that the latest definition does not give.
func (g *Groups) wholeOf(ctx context.Context, t Trigger) whole {
	w := whole{Trigger: t}
	if !t.wouldShare() {
		return w
	}
	by := g.known.get(t.job())
	if by == nil {
		return w
	}
	if panicked := g.calmly(ctx, func() { w = complete(t, by) }); panicked != nil {
		return whole{Trigger: t} // The webhook answers.
	}
	return w
}

// job identifies the JobDefinition of a trigger.
type job struct{ namespace, name string }

// knownJobs has the definitions of jobs, as far as triggers need them that lack a key. The answer to such a trigger names the
// definition of its job. Others that come meanwhile are held until then: they may share a JobRun.
type knownJobs struct {
	definitions *lru.Cache
	// absent has the jobs that had no definition a moment ago.
	absent *cache.LRUExpireCache

	mu       sync.Mutex
	searches map[job]*search
}

func newKnownJobs(clock clock.Clock) *knownJobs {
	return &knownJobs{
		definitions: lru.New(maxKnown), absent: cache.NewLRUExpireCacheWithClock(maxAbsent, clock), searches: map[job]*search{},
	}
}

// get returns the definition of a job, or nil if none is known.
func (k *knownJobs) get(of job) Definition {
	by, _ := k.definitions.Get(of)
	known, _ := by.(Definition)
	return known
}

// set remembers the definition of a job, or forgets it if by is nil.
func (k *knownJobs) set(of job, by Definition) {
	if by == nil {
		k.definitions.Remove(of)
		return
	}
	k.definitions.Add(of, by)
}

// isOpen reports whether it is not known what the definition of a job is.
func (k *knownJobs) isOpen(of job) bool {
	_, isAbsent := k.absent.Get(of)
	return !isAbsent && k.get(of) == nil
}

// search finds the definition of a job: a trigger is under way whose answer names it.
type search struct {
	of job
	// held start the triggers that came meanwhile, in the order of arrival.
	held []func()
	// over is closed when the search holds no trigger any more.
	over chan struct{}
}

func (s *search) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// enter begins the search for the definition of a job, or lets the search that is under way hold one more trigger. It returns how many
// it holds, or nil if it holds none any more.
func (k *knownJobs) enter(of job, start func()) (s *search, held int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s = k.searches[of]
	switch {
	case s == nil:
		s = &search{of: of, over: make(chan struct{})}
		k.searches[of] = s
	case s.isOver():
		return nil, 0
	default:
		s.held = append(s.held, start)
	}
	return s, len(s.held)
}

// isAwaited reports whether a search holds triggers.
func (k *knownJobs) isAwaited(s *search) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(s.held) > 0
}

// end returns what a search holds. It holds nothing from now on.
func (k *knownJobs) end(s *search) (held []func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !s.isOver() {
		close(s.over)
	}
	held, s.held = s.held, nil
	return held
}

// forget lets the next search of a job begin.
func (k *knownJobs) forget(s *search) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.searches, s.of)
}

// search sends a trigger alone whose answer will name the definition of its job, or holds the trigger until the answer to another one
// has done so. It returns false if that takes too long.
func (g *Groups) search(ctx context.Context, p *Pending) bool {
	s, held := g.known.enter(p.job(), func() { g.startHeld(ctx, p) })
	switch {
	case s == nil:
		return false
	case held == 0:
		go g.find(ctx, p, s)
	case held == 1:
		go g.endLate(s)
	}
	return true
}

// find sends the trigger of a search, and starts those that were held meanwhile.
func (g *Groups) find(ctx context.Context, p *Pending, s *search) {
	t := p.Trigger
	if run := g.alone(ctx, p); run != nil {
		g.learn(ctx, &t, run, s)
	}
	held := g.known.end(s)
	g.known.forget(s)
	startAll(held)
}

// endLate starts the triggers that a search holds, if its answer takes long.
func (g *Groups) endLate(s *search) {
	timer := g.Clock.NewTimer(longestHold)
	defer timer.Stop()
	select {
	case <-s.over:
	case <-timer.C():
		startAll(g.known.end(s))
	}
}

func startAll(held []func()) {
	for _, start := range held {
		start()
	}
}

// startHeld starts a trigger that was held, unless its caller has left.
func (g *Groups) startHeld(ctx context.Context, p *Pending) {
	select {
	case <-p.gone:
		p.tell(Answer{}, ErrLeft)
	default:
		g.start(ctx, p)
	}
}

// learn remembers the definition that the JobRun of a trigger names. A trigger that came alone does not need it.
func (g *Groups) learn(ctx context.Context, t *Trigger, run *v1alpha1.JobRun, s *search) {
	var of *v1alpha1.DefinitionReference
	if a := run.Spec.Admission; a != nil {
		of = a.Definition
	}
	if of == nil {
		g.known.absent.Add(t.job(), nil, absentTTL)
		return
	}
	if !g.known.isAwaited(s) {
		return
	}
	if by, err := g.definitionOf(ctx, t.Namespace, of); err == nil {
		g.known.set(t.job(), by)
	}
}
