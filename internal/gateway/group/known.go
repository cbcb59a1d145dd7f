// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"sync"

	"k8s.io/utils/lru"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// maxKnown bounds the definitions that are remembered.
const maxKnown = 16

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

// learn remembers the definition that the answer to a trigger names.
func (g *Groups) learn(ctx context.Context, t *Trigger, answer Answer) {
	var of *v1alpha1.DefinitionReference
	if a := answer.JobRun.Spec.Admission; a != nil {
		of = a.Definition
	}
	if by, err := g.definitionOf(ctx, t.Namespace, of); err == nil {
		g.known.set(t.job(), by)
	}
}

// job identifies the JobDefinition of a trigger.
type job struct{ namespace, name string }

// knownJobs has the definitions of jobs. A definition is read once several triggers that it may complete are under way at once: a
// trigger that comes alone does not need it.
type knownJobs struct {
	definitions *lru.Cache

	mu sync.Mutex
	// alone counts the triggers that lack a key and are sent alone.
	alone map[job]int
}

func newKnownJobs() knownJobs {
	return knownJobs{definitions: lru.New(maxKnown), alone: map[job]int{}}
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

// enter counts a trigger that lacks a key, until leave is called.
func (k *knownJobs) enter(of job) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.alone[of]++
}

func (k *knownJobs) leave(of job) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.alone[of]--; k.alone[of] == 0 {
		delete(k.alone, of)
	}
}

// isCrowd reports whether several triggers of a job lack a key and are sent alone.
func (k *knownJobs) isCrowd(of job) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.alone[of] > 1
}
