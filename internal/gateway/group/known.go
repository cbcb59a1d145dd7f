// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
)

const (
	// maxKnown bounds the definitions that are remembered, and knownTTL is how long each one is believed to be the latest.
	maxKnown = 16
	knownTTL = 5 * time.Second
	// maxUnheld bounds the jobs whose triggers do not wait. A job that has no definition is believed to have none for absentTTL.
	// One whose definition could not be found in time is left alone for failureTTL.
	maxUnheld  = 1024
	absentTTL  = 5 * time.Second
	failureTTL = time.Second
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

// knownJobs remembers what completes the triggers that lack a key or a coalesce.
type knownJobs struct {
	definitions *cache.LRUExpireCache
	// unheld has the jobs whose triggers do not wait for the definition.
	unheld *cache.LRUExpireCache
}

func newKnownJobs(clock clock.Clock) knownJobs {
	return knownJobs{
		definitions: cache.NewLRUExpireCacheWithClock(maxKnown, clock), unheld: cache.NewLRUExpireCacheWithClock(maxUnheld, clock),
	}
}

// get returns the definition of a job, or nil if none is known.
func (k knownJobs) get(of job) Definition {
	by, _ := k.definitions.Get(of)
	known, _ := by.(Definition)
	return known
}

// set remembers the definition of a job, or forgets it if by is nil.
func (k knownJobs) set(of job, by Definition) {
	if by == nil {
		k.definitions.Remove(of)
		return
	}
	k.definitions.Add(of, by, knownTTL)
}

// setUnheld lets the triggers of a job go on without the definition for so long.
func (k knownJobs) setUnheld(of job, ttl time.Duration) { k.unheld.Add(of, nil, ttl) }

// isOpen reports whether the triggers of a job are to wait for its definition.
func (k knownJobs) isOpen(of job) bool {
	_, isUnheld := k.unheld.Get(of)
	return !isUnheld && k.get(of) == nil
}
