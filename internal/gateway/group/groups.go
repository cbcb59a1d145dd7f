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

// Definition says what the triggers of a job become. *definition.Definition is one.
type Definition interface {
	// Complete returns the spec of a trigger with labels as it is stored, or what is wrong with it. It does not change trigger.
	Complete(trigger *v1alpha1.JobRunSpec, labels map[string]string) (v1alpha1.JobRunSpec, field.ErrorList)
}

// Options are the parts of Groups. All are required.
type Options struct {
	// Send creates the JobRun of a trigger, and returns only when the API server has answered. ctx has the values of the context of
	// one of the triggers, and does not end.
	Send func(context.Context, *Trigger) (Answer, error)
	// Definition returns a JobDefinition in its latest generation. The reference names it.
	Definition func(ctx context.Context, namespace string, of v1alpha1.DefinitionReference) (Definition, error)
	// Panicked returns the error for the triggers of a commit that panicked.
	Panicked func(ctx context.Context, cause any) error
	Clock    clock.Clock
}

// Groups sends triggers, many as one JobRun. It is safe for concurrent use.
type Groups struct {
	Options

	metrics *metrics

	known    knownJobs
	searches searches

	mu sync.Mutex
	// lines has the keys of which a create is under way.
	lines map[key]*line
}

// New returns Groups.
func New(o Options) *Groups {
	return &Groups{Options: o, metrics: newMetrics(), known: newKnownJobs(o.Clock), searches: searches{of: map[job]*search{}}, lines: map[key]*line{}}
}

// line is one key, from its first trigger until no trigger of it waits. One goroutine sends all JobRuns of the line.
type line struct {
	key key
	// waiting are in the order of arrival. Some of them may have left: left has how many at least.
	waiting []*Pending
	left    int
	// enough is closed once wanted triggers wait. It is nil if nobody waits for that.
	enough chan struct{}
	wanted int

	// Only the goroutine of the line uses the other fields.

	// sent is when the latest create began, took is how long it took, and size is how many triggers it stands for.
	sent time.Time
	took time.Duration
	size int
	// definition is the one that completed the latest JobRun, or nil if the job has none.
	definition *v1alpha1.DefinitionReference
}

// present returns how many triggers wait whose callers have not left.
func (l *line) present() int { return len(l.waiting) - l.left }

// Pending is a trigger that has begun.
type Pending struct {
	// whole is the trigger, with what it shares by.
	whole

	groups *Groups
	// gone is closed when the caller leaves.
	gone <-chan struct{}
	// line is nil if the trigger did not wait for another one.
	line  *line
	state state
	// answers has room for the answer.
	answers chan answered
}

// state is what became of a trigger that waits.
type state int

const (
	// waits can become any other state.
	waits state = iota
	// sealed means that the trigger gets an answer.
	sealed
	// left means that the caller has left, and that the trigger is never sent.
	left
)

type answered struct {
	Answer

	err error
}

func (p *Pending) tell(answer Answer, err error) { p.answers <- answered{answer, err} }

// Begin begins to send a trigger, alone or in a group, and does not wait. If ctx ends while the trigger waits for others, the trigger
// is not sent, and Wait says so.
func (g *Groups) Begin(ctx context.Context, t Trigger) *Pending {
	p := &Pending{whole: whole{Trigger: t}, groups: g, gone: ctx.Done(), answers: make(chan answered, 1)}
	ctx = context.WithoutCancel(ctx)
	if !p.wouldShare() || !g.hold(ctx, p) {
		g.begin(ctx, p)
	}
	return p
}

// begin sends a trigger alone or in a group, and does not wait.
func (g *Groups) begin(ctx context.Context, p *Pending) {
	p.whole = g.wholeOf(ctx, p.Trigger)
	key, shares := p.key()
	if !shares {
		go g.alone(ctx, p)
		return
	}
	if l, isFirst := g.join(key, p); isFirst {
		go g.drive(ctx, l, p)
	}
}

// Wait returns the answer to the trigger. It must be called once. It returns the errors of Options.Send, and ErrLeft if ctx ended
// before the trigger was sent.
func (p *Pending) Wait(ctx context.Context) (Answer, error) {
	select {
	case a := <-p.answers:
		return a.Answer, a.err
	case <-ctx.Done():
	}
	if p.groups.leave(p) {
		return Answer{}, ErrLeft
	}
	a := <-p.answers
	return a.Answer, a.err
}

// IsAnswered reports whether Wait would return at once.
func (p *Pending) IsAnswered() bool { return len(p.answers) > 0 }

// join adds a trigger to the line of its key. The first one of a line does not wait in it.
func (g *Groups) join(key key, p *Pending) (l *line, isFirst bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l = g.lines[key]
	if l == nil {
		l = &line{key: key}
		g.lines[key] = l
		p.state = sealed
		return l, true
	}
	if p.hasLeft() {
		p.tell(Answer{}, ErrLeft)
		return l, false
	}
	p.line = l
	l.waiting = append(l.waiting, p)
	if l.enough != nil && l.present() >= l.wanted {
		close(l.enough)
		l.enough = nil
	}
	return l, false
}

// leave removes a trigger that still waits for others. It returns false if the trigger will be told its answer.
func (g *Groups) leave(p *Pending) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := p.line
	if l == nil || p.state != waits {
		return false
	}
	p.state, p.whole = left, whole{} // The line keeps p for a while, but not the input.
	if l.left++; l.left > len(l.waiting)/2 {
		l.waiting = slices.DeleteFunc(l.waiting, func(p *Pending) bool { return p.state == left })
		l.left = 0
	}
	return true
}

// drive sends the first trigger of a line, and then those that came meanwhile, until none waits.
func (g *Groups) drive(ctx context.Context, l *line, first *Pending) {
	goOn := g.sendAll(ctx, l, []member{{first, &first.Trigger}})
	for goOn && !g.endIfNoneWaits(l) {
		goOn = g.commit(ctx, l)
	}
	if goOn {
		return
	}
	for _, p := range g.endOf(l) {
		go g.alone(ctx, p)
	}
}

// endIfNoneWaits ends a line for which nobody waits.
func (g *Groups) endIfNoneWaits(l *line) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.present() > 0 {
		return false
	}
	delete(g.lines, l.key)
	return true
}

// endOf ends a line, and returns the triggers that wait.
func (g *Groups) endOf(l *line) []*Pending {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.lines, l.key)
	return l.seal(len(l.waiting))
}

// alone sends one trigger as a JobRun of its own, and tells it the answer. It returns the JobRun, or nil after an error.
func (g *Groups) alone(ctx context.Context, p *Pending) *v1alpha1.JobRun {
	t := p.asSent()
	var answer Answer
	var err error
	if panicked := g.calmly(ctx, func() { answer, err = g.Send(ctx, &t) }); panicked != nil {
		err = panicked
	}
	p.tell(answer, err)
	if err != nil {
		return nil
	}
	return answer.JobRun
}

// calmly is do, but that it returns an error for a panic. Expressions and schemas are those of users.
func (g *Groups) calmly(ctx context.Context, do func()) (panicked error) {
	defer func() {
		if cause := recover(); cause != nil {
			panicked = g.Panicked(ctx, cause)
		}
	}()
	do()
	return nil
}

// commit sends one JobRun for all that wait, and tells each of them what became of it. It reports whether the next group may follow.
func (g *Groups) commit(ctx context.Context, l *line) (goOn bool) {
	by, err := g.definitionOf(ctx, l.key.namespace, l.definition)
	if err != nil {
		return false // All that wait are sent alone.
	}
	g.known.set(job{l.key.namespace, l.key.spec.JobName}, by)
	g.pause(l)
	g.mu.Lock()
	group := l.seal(v1alpha1.MaxRepresented)
	g.mu.Unlock()
	var members []member
	var others []*Pending
	if err := g.calmly(ctx, func() { members, others = split(group, by) }); err != nil {
		for _, p := range group {
			p.tell(Answer{}, err)
		}
		return false
	}
	for _, p := range others {
		go g.alone(ctx, p)
	}
	return len(members) == 0 || g.sendAll(ctx, l, members)
}

// definitionOf returns the definition of a reference, or nil without one.
func (g *Groups) definitionOf(ctx context.Context, namespace string, of *v1alpha1.DefinitionReference) (by Definition, err error) {
	if of == nil {
		return nil, nil
	}
	if panicked := g.calmly(ctx, func() { by, err = g.Definition(ctx, namespace, *of) }); panicked != nil {
		return nil, panicked
	}
	return by, err
}

// pause waits until the next commit may begin: a key with many triggers gathers those that are about to come back, and a busy key has
// an interval.
func (g *Groups) pause(l *line) {
	g.gather(l)
	g.mu.Lock()
	waiting := l.present()
	g.mu.Unlock()
	if pause := pauseOf(waiting, l.size, g.Clock.Since(l.sent)); pause > 0 {
		<-g.Clock.After(pause)
	}
}

// gather waits for the callers that the latest commit has answered, but not for long.
func (g *Groups) gather(l *line) {
	g.mu.Lock()
	wanted, patience := gatherOf(l.size, l.present(), l.took)
	if l.present() >= wanted {
		g.mu.Unlock()
		return
	}
	enough := make(chan struct{})
	l.enough, l.wanted = enough, wanted
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

// seal returns the triggers of the next group, at most so many. Their callers can leave no longer.
func (l *line) seal(most int) []*Pending {
	end := min(len(l.waiting), most)
	group := l.waiting[:end]
	l.waiting, l.left = slices.Clone(l.waiting[end:]), 0
	return slices.DeleteFunc(group, func(p *Pending) bool { return !p.seal() })
}

// seal reports whether the trigger is to be sent. It tells a caller who has left without waiting that it is not.
func (p *Pending) seal() bool {
	if p.state == left {
		return false
	}
	p.state = sealed
	if p.hasLeft() {
		p.tell(Answer{}, ErrLeft)
		return false
	}
	return true
}

func (p *Pending) hasLeft() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// member is a trigger of a group, as it was sent and as its definition completes it.
type member struct {
	*Pending

	complete *Trigger
}

// split returns those that may share a JobRun, and those that are sent alone.
func split(group []*Pending, by Definition) (members []member, alone []*Pending) {
	c := completion{by: by}
	for _, p := range group {
		if complete, ok := c.of(&p.whole); ok {
			members = append(members, member{p, complete})
		} else {
			alone = append(alone, p)
		}
	}
	return members, alone
}

// sendAll sends the JobRun of a group and tells each member. It reports whether the next group may follow.
func (g *Groups) sendAll(ctx context.Context, l *line, members []member) (goOn bool) {
	var answer Answer
	var err error
	if panicked := g.calmly(ctx, func() { answer, err = g.send(ctx, l, members) }); panicked != nil {
		for _, m := range members { // It is not known whether the JobRun was stored, so none is sent again.
			m.tell(Answer{}, panicked)
		}
		return false
	}
	first, others := members[0], members[1:]
	if isShared(answer, err, len(members)) {
		first.tell(answer, err)
		for _, m := range others {
			m.tell(ofOther(answer), err)
		}
		return goesOn(answer, err)
	}
	if err != nil && len(others) > 0 {
		go g.alone(ctx, first.Pending)
	} else {
		first.tell(answer, err)
	}
	for _, m := range others {
		go g.alone(ctx, m.Pending)
	}
	return goesOn(answer, err)
}

// send sends the JobRun of a group, and keeps what the next group needs to know.
func (g *Groups) send(ctx context.Context, l *line, members []member) (Answer, error) {
	t := members[0].asSent()
	if len(members) > 1 {
		t = members[0].Trigger
		all := make([]*Trigger, len(members))
		for i, m := range members {
			all[i] = m.complete
		}
		t.Spec.Represents = represent(all)
	}
	l.sent, l.took, l.size = g.Clock.Now(), 0, len(members)
	answer, err := g.Send(ctx, &t)
	if err != nil {
		return answer, err
	}
	l.took = g.Clock.Since(l.sent)
	g.metrics.observe(len(members), l.took)
	l.definition = nil
	if a := answer.JobRun.Spec.Admission; a != nil {
		l.definition = a.Definition
	}
	return answer, nil
}
