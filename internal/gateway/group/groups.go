// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// ErrLeft means that the caller left while its trigger waited. The trigger was not sent.
var ErrLeft = errors.New("the caller left before the trigger was sent")

// errBroken is the answer of a group whose commit panicked.
var errBroken = errors.New("the gateway failed while it sent the trigger")

// Definition says what the triggers of a job become. *definition.Definition is one.
type Definition interface {
	// Complete returns the spec of a trigger with labels as it is stored, or what is wrong with it. It does not change trigger.
	Complete(trigger *v1alpha1.JobRunSpec, labels map[string]string) (v1alpha1.JobRunSpec, field.ErrorList)
}

// Options are the parts of Groups. All are required.
type Options struct {
	// Send creates the JobRun of a trigger, and returns only when the API server has answered. The end of the context does not
	// end it: what it sends may stand for others.
	Send func(context.Context, *Trigger) (Answer, error)
	// Definition returns a JobDefinition in its latest generation. The reference names it.
	Definition func(ctx context.Context, namespace string, of v1alpha1.DefinitionReference) (Definition, error)
	Clock      clock.Clock
}

// Groups sends triggers, many as one JobRun. It is safe for concurrent use.
type Groups struct {
	Options

	metrics *metrics

	mu sync.Mutex
	// lines has the keys of which a create is under way.
	lines map[string]*line
}

// New returns Groups.
func New(o Options) *Groups {
	return &Groups{Options: o, metrics: newMetrics(), lines: map[string]*line{}}
}

// line is one key, from when a trigger finds no create under way until none waits. One trigger at a time has the turn.
type line struct {
	key string
	// waiting are in the order of arrival. Some of them may have left: left has how many at least.
	waiting []*waiter
	left    int
	// enough is closed once wanted triggers wait. It is nil if nobody waits for that.
	enough chan struct{}
	wanted int

	// The other fields belong to the trigger that has the turn.

	// sent is when the latest create began, took is how long it took, and size is how many triggers it stands for.
	sent time.Time
	took time.Duration
	size int
	// definition is the one that completed the latest JobRun, or nil if the job has none.
	definition *v1alpha1.DefinitionReference
}

// present returns how many triggers wait whose callers have not left.
func (l *line) present() int { return len(l.waiting) - l.left }

// state is what became of a trigger that waits.
type state int

const (
	// waits can become any other state.
	waits state = iota
	// leads means that the trigger has the turn. It becomes sealed, or left if its caller has left.
	leads
	// sealed means that the trigger gets an answer, or is sent alone.
	sealed
	// left means that the caller has left, and that the trigger is never sent.
	left
)

// waiter is one trigger that waits.
type waiter struct {
	Trigger

	state state
	// turns tells the trigger what to do. It has room for one, and there is never a second one.
	turns chan turn
}

// turn is what a waiter is told: to send the next group, to send its own trigger alone, or its answer.
type turn struct {
	lead, alone bool
	answer      Answer
	err         error
}

// Trigger sends a trigger, alone or in a group, and returns its answer. It returns the errors of Options.Send, and ErrLeft if
// ctx ended before the trigger was sent.
func (g *Groups) Trigger(ctx context.Context, t Trigger) (Answer, error) { return g.Begin(t)(ctx) }

// Begin is the first part of Trigger: it takes the place of the trigger in its group, without waiting. The rest must be called,
// once, because others may wait for it.
func (g *Groups) Begin(t Trigger) (rest func(context.Context) (Answer, error)) {
	key, shares := t.key()
	if !shares {
		return func(ctx context.Context) (Answer, error) { return g.Send(ctx, &t) }
	}
	l, w := g.join(key, t)
	if w != nil {
		return func(ctx context.Context) (Answer, error) { return g.wait(ctx, l, w) }
	}
	return func(ctx context.Context) (Answer, error) { return g.first(ctx, l, &t) }
}

// first sends a trigger that found no create under way.
func (g *Groups) first(ctx context.Context, l *line, t *Trigger) (Answer, error) {
	end := g.turnOf(l)
	defer end(false) // a panic
	answer, err := g.send(ctx, l, t, 1)
	end(goesOn(answer, err))
	return answer, err
}

// join adds a trigger to the line of its key. It returns no waiter if no create is under way: then the trigger has the turn.
func (g *Groups) join(key string, t Trigger) (*line, *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.lines[key]
	if l == nil {
		l = &line{key: key}
		g.lines[key] = l
		return l, nil
	}
	w := &waiter{Trigger: t, turns: make(chan turn, 1)}
	l.waiting = append(l.waiting, w)
	if l.enough != nil && l.present() >= l.wanted {
		close(l.enough)
		l.enough = nil
	}
	return l, w
}

// wait returns the answer to a trigger that waits. On its way it may send a group.
func (g *Groups) wait(ctx context.Context, l *line, w *waiter) (Answer, error) {
	leaves := ctx.Done()
	for {
		select {
		case now := <-w.turns:
			switch {
			case now.lead:
				g.commit(ctx, l, w)
				if w.state == left {
					return Answer{}, ErrLeft
				}
			case now.alone:
				return g.Send(ctx, &w.Trigger)
			default:
				return now.answer, now.err
			}
		case <-leaves:
			if g.leave(l, w) {
				return Answer{}, ErrLeft
			}
			leaves = nil
		}
	}
}

// leave removes a trigger that still waits. It returns false if the trigger leads, or will be told its answer.
func (g *Groups) leave(l *line, w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.state != waits {
		return false
	}
	w.state, w.Trigger = left, Trigger{} // The line keeps w for a while, but not the input.
	if l.left++; l.left > len(l.waiting)/2 {
		l.waiting = slices.DeleteFunc(l.waiting, func(w *waiter) bool { return w.state == left })
		l.left = 0
	}
	return true
}

// turnOf returns the end of the turn that a trigger has. Only the first call of it counts. goOn means that the next group may
// follow.
func (g *Groups) turnOf(l *line) (end func(goOn bool)) {
	var once sync.Once
	return func(goOn bool) { once.Do(func() { g.next(l, goOn) }) }
}

// next gives the turn to the trigger that has waited longest. If no group may follow, all that wait are sent alone.
func (g *Groups) next(l *line, goOn bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range l.waiting {
		switch {
		case w.state == left:
		case goOn:
			w.state = leads
			w.turns <- turn{lead: true}
			return
		default:
			w.state = sealed
			w.turns <- turn{alone: true}
		}
	}
	delete(g.lines, l.key)
}

// commit sends one JobRun for all that wait, and tells each of them what became of it. w has the turn, and is told like the
// others.
func (g *Groups) commit(ctx context.Context, l *line, w *waiter) {
	end := g.turnOf(l)
	defer end(false) // a panic, or no definition
	by, err := g.definitionOf(ctx, l, w)
	if err != nil {
		for _, w := range g.seal(ctx, l, w) {
			w.turns <- turn{alone: true}
		}
		return
	}
	g.pause(l)
	members, alone := split(g.seal(ctx, l, w), by)
	for _, w := range alone {
		w.turns <- turn{alone: true}
	}
	end(len(members) == 0 || g.sendAll(ctx, l, members))
}

func (g *Groups) definitionOf(ctx context.Context, l *line, w *waiter) (Definition, error) {
	if l.definition == nil {
		return nil, nil
	}
	return g.Definition(ctx, w.Namespace, *l.definition)
}

// pause waits until the next commit may begin: a key with many triggers gathers as many as before, and a busy key has an interval.
func (g *Groups) pause(l *line) {
	g.gather(l)
	g.mu.Lock()
	waiting := l.present()
	g.mu.Unlock()
	if pause := pauseOf(waiting, l.size, g.Clock.Since(l.sent)); pause > 0 {
		<-g.Clock.After(pause)
	}
}

// gather waits until as many triggers wait as the latest commit had, but not for long.
func (g *Groups) gather(l *line) {
	triggers, patience := gatherOf(l.size, l.took)
	g.mu.Lock()
	if l.present() >= triggers {
		g.mu.Unlock()
		return
	}
	enough := make(chan struct{})
	l.enough, l.wanted = enough, triggers
	g.mu.Unlock()
	timer := g.Clock.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-enough:
	case <-timer.C():
	}
	g.mu.Lock()
	l.enough = nil
	g.mu.Unlock()
}

// seal returns the triggers of the next group. It is w that has the turn, and leaves if its caller has left.
func (g *Groups) seal(ctx context.Context, l *line, w *waiter) []*waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() != nil {
		w.state = left
	}
	end := min(len(l.waiting), v1alpha1.MaxRepresented)
	group := l.waiting[:end]
	l.waiting, l.left = slices.Clone(l.waiting[end:]), 0
	group = slices.DeleteFunc(group, func(w *waiter) bool { return w.state == left })
	for _, w := range group {
		w.state = sealed
	}
	return group
}

// member is a trigger of a group, as it was sent and as its definition completes it.
type member struct {
	*waiter

	complete *Trigger
}

// split returns those that may share a JobRun, and those that are sent alone. If it panics, it tells all of them.
func split(group []*waiter, by Definition) (members []member, alone []*waiter) {
	isSplit := false
	defer func() {
		for _, w := range group {
			if !isSplit { // The expressions and the schema are those of a user.
				w.turns <- turn{err: errBroken}
			}
		}
	}()
	c := completion{by: by}
	for _, w := range group {
		if complete, ok := c.of(&w.Trigger); ok {
			members = append(members, member{w, complete})
		} else {
			alone = append(alone, w)
		}
	}
	isSplit = true
	return members, alone
}

// sendAll sends the JobRun of a group and tells each member. It reports whether the next group may follow.
func (g *Groups) sendAll(ctx context.Context, l *line, members []member) (goOn bool) {
	first, others := turn{err: errBroken}, turn{err: errBroken}
	defer func() {
		members[0].turns <- first
		for _, m := range members[1:] {
			m.turns <- others
		}
	}()
	t := members[0].Trigger
	if len(members) > 1 {
		all := make([]*Trigger, len(members))
		for i, m := range members {
			all[i] = m.complete
		}
		t.Spec.Represents = represent(all)
	}
	answer, err := g.send(ctx, l, &t, len(members))
	first, others = turn{answer: answer, err: err}, turn{answer: ofOther(answer), err: err}
	if !isShared(answer, err, len(members)) {
		others = turn{alone: true}
		if err != nil && len(members) > 1 {
			first = turn{alone: true}
		}
	}
	return goesOn(answer, err)
}

// send sends the JobRun of size triggers, and keeps what the next group needs to know.
func (g *Groups) send(ctx context.Context, l *line, t *Trigger, size int) (Answer, error) {
	l.sent, l.took, l.size = g.Clock.Now(), 0, size
	answer, err := g.Send(ctx, t)
	if err != nil {
		return answer, err
	}
	l.took = g.Clock.Since(l.sent)
	g.metrics.observe(size, l.took)
	l.definition = nil
	if a := answer.JobRun.Spec.Admission; a != nil {
		l.definition = a.Definition
	}
	return answer, nil
}
