// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"sync"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// longestHold bounds how long a search holds triggers.
	longestHold = 200 * time.Millisecond
	// mostTries is how many triggers a search sends one after the other, if they are refused.
	mostTries = 3
)

// search finds the definition of a job: a trigger is sent alone, and its answer names the definition. Further triggers of the job that
// lack a key or a coalesce are held until then.
type search struct {
	of job
	// held are in the order of arrival. isAwaited reports whether there ever was one.
	held      []held
	isAwaited bool
	// over is closed at the end.
	over chan struct{}
}

// held is a trigger that waits for a search. Its functions are those of Groups.
type held struct {
	*Pending

	alone func() *v1alpha1.JobRun
	begin func()
}

// searches has the searches that are under way.
type searches struct {
	mu sync.Mutex
	of map[job]*search
}

// entry is what becomes of a trigger.
type entry int

const (
	// isFree means that the trigger need not wait.
	isFree entry = iota
	// isSearch means that the trigger is to be sent by a new search.
	isSearch
	// isFirstHeld and isHeld mean that a search holds the trigger.
	isFirstHeld
	isHeld
)

// enter holds a trigger if there is a search for the definition of its job. If there is none, and isOpen says that there should be one,
// the search begins.
func (all *searches) enter(h held, isOpen func(job) bool) (*search, entry) {
	of := h.job()
	all.mu.Lock()
	defer all.mu.Unlock()
	s := all.of[of]
	switch {
	case s == nil && !isOpen(of):
		return nil, isFree
	case s == nil:
		s = &search{of: of, over: make(chan struct{})}
		all.of[of] = s
		return s, isSearch
	}
	s.held = append(s.held, h)
	if s.isAwaited {
		return s, isHeld
	}
	s.isAwaited = true
	return s, isFirstHeld
}

// next takes the first trigger that is held.
func (all *searches) next(s *search) (h held, ok bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if len(s.held) == 0 {
		return held{}, false
	}
	h, s.held = s.held[0], s.held[1:]
	return h, true
}

// take takes all triggers that are held. If there are none, the search is over.
func (all *searches) take(s *search) []held {
	all.mu.Lock()
	defer all.mu.Unlock()
	taken := s.held
	s.held = nil
	if len(taken) == 0 && all.of[s.of] == s {
		delete(all.of, s.of)
		close(s.over)
	}
	return taken
}

func (all *searches) isAwaited(s *search) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	return s.isAwaited
}

// hold sends a trigger by a search, or lets one hold it. It returns false if the trigger need not wait.
func (g *Groups) hold(ctx context.Context, p *Pending) bool {
	h := held{p, func() *v1alpha1.JobRun { return g.alone(ctx, p) }, func() { g.begin(ctx, p) }}
	s, entry := g.searches.enter(h, g.known.isOpen)
	switch entry {
	case isSearch:
		go g.find(ctx, s, h)
	case isFirstHeld:
		go g.endLate(s)
	}
	return entry != isFree
}

// find sends triggers until the answer to one tells the definition. Then it begins those that were held meanwhile.
func (g *Groups) find(ctx context.Context, s *search, h held) {
	defer g.beginHeld(s)
	for range mostTries {
		if run := h.alone(); run != nil {
			g.learn(ctx, s, run)
			return
		}
		var ok bool
		if h, ok = g.nextPresent(s); !ok {
			return
		}
	}
	g.known.setUnheld(s.of, failureTTL)
	h.begin()
}

// nextPresent takes the first trigger that is held whose caller has not left.
func (g *Groups) nextPresent(s *search) (held, bool) {
	for {
		h, ok := g.searches.next(s)
		if !ok || !h.hasLeft() {
			return h, ok
		}
		h.tell(Answer{}, ErrLeft)
	}
}

// learn remembers the definition that a JobRun names. A trigger that came alone does not need it.
func (g *Groups) learn(ctx context.Context, s *search, run *v1alpha1.JobRun) {
	admission := run.Spec.Admission
	switch {
	case admission == nil: // The webhook did not see it, so nothing is known.
	case admission.Definition == nil:
		g.known.setUnheld(s.of, absentTTL)
	case g.searches.isAwaited(s):
		by, err := g.definitionOf(ctx, s.of.namespace, admission.Definition)
		if err != nil {
			g.known.setUnheld(s.of, failureTTL)
			return
		}
		g.known.set(s.of, by)
	}
}

// beginHeld begins the triggers that a search holds, until it holds none.
func (g *Groups) beginHeld(s *search) {
	for taken := g.searches.take(s); len(taken) > 0; taken = g.searches.take(s) {
		for _, h := range taken {
			if h.hasLeft() {
				h.tell(Answer{}, ErrLeft)
				continue
			}
			h.begin()
		}
	}
}

// endLate ends a search that takes long. What its answer tells is remembered all the same.
func (g *Groups) endLate(s *search) {
	timer := g.Clock.NewTimer(longestHold)
	defer timer.Stop()
	select {
	case <-s.over:
	case <-timer.C():
		g.known.setUnheld(s.of, failureTTL)
		g.beginHeld(s)
	}
}
