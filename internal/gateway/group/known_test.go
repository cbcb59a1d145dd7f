// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// bare is a trigger whose definition gives the key and the coalesce.
func bare(org string) func(*Trigger) {
	return func(t *Trigger) {
		t.Spec.ConcurrencyKey, t.Spec.Coalesce, t.Spec.Input = "", "", jsonOf(`{"org":"`+org+`"}`)
	}
}

// bareTriggers sends bare triggers at once, and returns how many JobRuns they became.
func (a *api) bareTriggers(orgs ...string) (creates int) {
	a.t.Helper()
	before := len(a.sent)
	var all []*call
	for _, org := range orgs {
		all = append(all, a.trigger(0, bare(org)))
	}
	for _, c := range all {
		if <-c.done; c.err != nil {
			a.t.Errorf("a trigger was told %s", c)
		}
	}
	synctest.Wait() // until the definition is known
	return len(a.sent) - before
}

func TestKeysOfADefinition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.by = compiled(t)
		if a.bareTriggers("k"); a.reads != 0 {
			t.Errorf("a single trigger reads the definition %d times", a.reads)
		}
		if n := a.bareTriggers("k", "k", "k"); n != 3 {
			t.Errorf("%d creates before the definition is known", n)
		}
		if n := a.bareTriggers("k", "k", "other", "k", "other", "k"); n != 4 {
			t.Fatalf("%d creates of two keys", n)
		}
		represented := int32(0)
		for _, run := range a.sent[4:] {
			key, r := run.Spec.ConcurrencyKey, run.Spec.Represents
			if (r == nil) != (key == "") || r != nil && run.Spec.Coalesce != v1alpha1.CoalesceSkip {
				t.Errorf("sent %+v", run.Spec)
			}
			if r != nil {
				represented += r.Count
			}
		}
		if represented != 3 { // The second trigger of the other key waits alone.
			t.Errorf("%d triggers share JobRuns", represented)
		}
	})
}

// Triggers with a key of the caller and those with the same key of the definition share.
func TestAKeyOfTheCallerAndOfTheDefinition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.by = compiled(t)
		a.bareTriggers("k", "k")
		before := len(a.sent)
		first := a.trigger(0, bare("k"))
		second := a.trigger(0, bare("k"), func(t *Trigger) { t.Spec.ConcurrencyKey = "k" })
		third := a.trigger(0, bare("k"), func(t *Trigger) { t.Spec.ConcurrencyKey, t.Spec.Coalesce = "k", v1alpha1.CoalesceSkip })
		for _, c := range []*call{first, second, third} {
			if <-c.done; c.err != nil {
				t.Error(c)
			}
		}
		if len(a.sent) != before+2 {
			t.Errorf("%d creates", len(a.sent)-before)
		}
	})
}

// What a definition gives no longer is not sent: neither if the group is completed by the new one, nor if the webhook knows that
// first.
func TestADefinitionThatChanges(t *testing.T) {
	others := func(d *v1alpha1.JobDefinition) { d.Spec.ConcurrencyKeyExpression = `input.org + "-2"` }
	for name, change := range map[string]func(*api){
		"before a group is completed": func(a *api) { a.by = compiled(a.t, others) },
		"after a group is completed": func(a *api) {
			a.answer = func(_ int, run *v1alpha1.JobRun) error {
				if run.Spec.ConcurrencyKey != "" {
					return errors.New(`JobDefinition sync gives "k-2"`)
				}
				return nil
			}
		},
		"and is gone": func(a *api) { a.by = nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t)
				a.by = compiled(t)
				a.bareTriggers("k", "k")
				change(a)
				before := len(a.sent)
				a.bareTriggers("k", "k", "k")
				for _, run := range a.sent[before:] {
					if r := run.Spec.Represents; r == nil && (run.Spec.ConcurrencyKey != "" || run.Spec.Coalesce != "") {
						t.Errorf("sent %+v", run.Spec)
					}
				}
				if len(a.stored) != before+3 || a.open() > 0 {
					t.Errorf("%d JobRuns of 3 triggers, %d lines are left", len(a.stored)-before, a.open())
				}
			})
		})
	}
}

// A definition that panics, or refuses the trigger, leaves the answer to the webhook.
func TestADefinitionThatGivesNoKey(t *testing.T) {
	withIDs := func(d *v1alpha1.JobDefinition) { d.Spec.IdempotencyKeyExpression = "input.org" }
	for name, by := range map[string]Definition{
		"it panics":                broken{},
		"it refuses":               compiled(t, func(d *v1alpha1.JobDefinition) { d.Spec.ConcurrencyKeyExpression = "input.id" }),
		"it does not coalesce":     compiled(t, func(d *v1alpha1.JobDefinition) { d.Spec.Defaults = nil }),
		"it gives idempotencyKeys": compiled(t, withIDs),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t)
				a.by = by
				for range 2 {
					if n := a.bareTriggers("k", "k", "k"); n != 3 {
						t.Errorf("%d creates", n)
					}
				}
				if len(a.known.alone) > 0 {
					t.Errorf("still counted: %v", a.known.alone)
				}
			})
		})
	}
}

// The gateway does not send the trigger of a caller who has left, even if Wait was not called yet.
func TestATriggerOfACallerWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		first := a.trigger(0)
		ctx, leave := context.WithCancel(t.Context())
		gone := a.Begin(ctx, sharing())
		stays := a.trigger(2)
		leave()
		<-first.done
		<-stays.done
		time.Sleep(time.Second)
		if _, err := gone.Wait(ctx); !errors.Is(err, ErrLeft) || len(a.sent) != 2 || a.sent[1].Spec.Represents != nil {
			t.Errorf("%v, and %d creates", err, len(a.sent))
		}
	})
}
