// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"slices"
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
			t.Errorf("%d creates while the definition is searched", n)
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

// manyBare begins so many bare triggers of one key.
func (a *api) manyBare(n int) (all []*call) {
	for range n {
		all = append(all, a.trigger(0, bare("k")))
	}
	return all
}

// refusingFirst refuses the first n creates.
func refusingFirst(n int) func(int, *v1alpha1.JobRun) error {
	return func(create int, _ *v1alpha1.JobRun) error {
		if create < n {
			return errors.New("refused")
		}
		return nil
	}
}

// allRepresented returns how many triggers the stored JobRuns stand for.
func (a *api) allRepresented() (triggers int) {
	for _, run := range a.stored {
		triggers++
		if r := run.Spec.Represents; r != nil {
			triggers += int(r.Count) - 1
		}
	}
	return triggers
}

// The first trigger tells the definition, the second is the first of the key, and all others share. That holds, too, if the first ones
// are refused, but not if too many are.
func TestABurstOfADefinedJob(t *testing.T) {
	for refused, want := range map[int]int{0: 3, 1: 4, 2: 5, mostTries: 100} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t)
			a.by = compiled(t)
			a.answer = refusingFirst(refused)
			all := a.manyBare(100)
			for i, c := range all {
				if <-c.done; (c.err != nil) != (i < refused) {
					t.Errorf("trigger %d was told %s", i, c)
				}
			}
			if len(a.sent) != want || a.allRepresented() != 100-refused || a.open() > 0 {
				t.Errorf("%d refused: %d creates for %d triggers", refused, len(a.sent), a.allRepresented())
			}
		})
	}
}

// A job without a definition holds triggers once, and then not for a while.
func TestABurstOfAJobWithoutADefinition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		for _, step := range []struct{ pause, longest time.Duration }{{0, 2 * latency}, {absentTTL - time.Second, latency}, {2 * time.Second, 2 * latency}} {
			time.Sleep(step.pause)
			all := a.manyBare(10)
			var longest time.Duration
			for _, c := range all {
				if <-c.done; c.err != nil {
					t.Error(c)
				}
				longest = max(longest, c.took)
			}
			if longest != step.longest {
				t.Errorf("after %s the triggers took %s, want %s", step.pause, longest, step.longest)
			}
		}
		if len(a.sent) != 30 {
			t.Errorf("%d creates", len(a.sent))
		}
	})
}

// A search ends after 200 ms, even if its trigger has no answer yet. The triggers that it held begin. Later triggers begin at once.
func TestASearchThatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.by = compiled(t)
		a.answer = func(n int, _ *v1alpha1.JobRun) error {
			if n == 0 {
				time.Sleep(time.Minute)
			}
			return nil
		}
		first, second := a.trigger(0, bare("k")), a.trigger(0, bare("k"))
		time.Sleep(time.Second)
		third := a.trigger(0, bare("k"))
		<-third.done
		if second.took != longestHold+latency || third.took != latency {
			t.Errorf("they took %s and %s", second.took, third.took)
		}
		<-first.done
		if a.open() > 0 || len(a.searches.of) > 0 || a.known.get(job{"team-a", "sync"}) == nil {
			t.Error("something is left, or the definition is not known")
		}
	})
}

// A search that sends several triggers ends after 200 ms, too.
func TestASearchThatFailsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		const slow = longestHold * 3 / 4
		a.answer = func(int, *v1alpha1.JobRun) error {
			time.Sleep(slow)
			return errors.New("refused")
		}
		all := a.manyBare(5)
		for _, c := range all {
			<-c.done
		}
		if want := longestHold + latency + slow; all[4].took != want {
			t.Errorf("the last one took %s, want %s", all[4].took, want)
		}
	})
}

// Without an answer of the webhook, nothing is known of the definition.
func TestASearchThatTheWebhookDoesNotSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.by = compiled(t)
		a.answer = func(n int, run *v1alpha1.JobRun) error {
			if n == 0 {
				run.Spec.Admission = nil
			}
			return nil
		}
		a.bareTriggers("k")
		if a.bareTriggers("k", "k"); a.reads == 0 {
			t.Error("the job seems to have no definition")
		}
	})
}

// A definition that cannot be read holds triggers once, and then not for a while.
func TestADefinitionThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.answer = func(_ int, run *v1alpha1.JobRun) error {
			run.Spec.Admission.Definition = &v1alpha1.DefinitionReference{Name: "sync"}
			return nil
		}
		a.bareTriggers("k", "k", "k")
		for _, c := range a.manyBare(3) {
			if <-c.done; c.took != latency {
				t.Errorf("a trigger took %s", c.took)
			}
		}
		if a.reads != 1 {
			t.Errorf("%d reads", a.reads)
		}
	})
}

// A trigger that is held is not sent if its caller leaves, whether the answer tells the definition or not.
func TestACallerWhoLeavesASearch(t *testing.T) {
	for _, refused := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t)
			a.by = compiled(t)
			a.answer = refusingFirst(refused)
			all := a.manyBare(3)
			all[1].leave()
			<-all[1].done
			<-all[2].done
			if !errors.Is(all[1].err, ErrLeft) || all[2].err != nil || len(a.sent) != 2 {
				t.Errorf("%d refused: %s, %s, and %d creates", refused, all[1], all[2], len(a.sent))
			}
		})
	}
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
// One that gives the key later is found in a while.
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
				if len(a.searches.of) > 0 {
					t.Errorf("still searched: %v", a.searches.of)
				}
				a.by = compiled(t)
				time.Sleep(knownTTL)
				if n := a.bareTriggers(slices.Repeat([]string{"k"}, 20)...); n != 3 {
					t.Errorf("%d creates", n)
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
