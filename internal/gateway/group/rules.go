// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

const (
	// crowd is how many waiting triggers make a key busy.
	crowd = 128
	// interval is the shortest time from the beginning of one commit of a busy key to that of the next one.
	interval = 20 * time.Millisecond
	// several is how many triggers a JobRun stands for at least, if the next commit waits for as many.
	several = 16
	// longestGather bounds that wait.
	longestGather = 100 * time.Millisecond
)

// Answer is the answer to a trigger, and the warnings about it.
type Answer struct {
	jobrun.TriggerResult

	Warnings []string
}

// pauseOf returns how long the next commit of a key waits. waiting is the number of triggers that wait, before is that of the
// commit before, and since is the time from its beginning.
func pauseOf(waiting, before int, since time.Duration) time.Duration {
	if max(waiting, before) < crowd {
		return 0
	}
	return max(interval-since, 0)
}

// gatherOf returns how many triggers the next commit of a key waits for, and how long at most. before is the number of triggers of
// the commit before, took is how long that took, and waiting is the number of triggers that came meanwhile. Callers who trigger again
// as soon as they have an answer come back within twice that time. Without the wait, the next JobRun would not stand for them, and
// there would be twice as many JobRuns.
func gatherOf(before, waiting int, took time.Duration) (triggers int, patience time.Duration) {
	if before < several {
		return 0, 0
	}
	return before + waiting, min(2*took, longestGather)
}

// isShared reports whether the answer to a JobRun for several triggers is the answer of all of them. If it is not, no trigger
// but the first one has an answer.
//
// A conflict of the key is the conflict of all. If it is not known whether the JobRun was stored, it may stand for all, so none
// may be sent again. A JobRun that was stored without spec.represents stands for the first trigger alone: the API server or the
// webhook is older than the gateway.
func isShared(answer Answer, err error, triggers int) bool {
	if err == nil {
		r := answer.JobRun.Spec.Represents
		return triggers == 1 || r != nil && int(r.Count) == triggers
	}
	return errors.Is(err, jobrun.ErrConflict) || errors.Is(err, jobrun.ErrReserved) || errors.Is(err, jobrun.ErrUnanswered)
}

// goesOn reports whether a group may follow an answer. After an error, the group would fare no better. And spec.admission tells
// by which definition its triggers are to be completed. It is missing if the webhook did not see the JobRun.
func goesOn(answer Answer, err error) bool {
	return err == nil && answer.JobRun.Spec.Admission != nil
}

// ofOther returns the answer of the triggers behind the first one. The first one is the run, the others were coalesced into it.
func ofOther(answer Answer) Answer {
	if answer.Disposition == v1alpha1.DispositionCreated {
		answer.Disposition = v1alpha1.DispositionCoalesced
	}
	return answer
}

// completion completes the triggers of one group by the definition of their job, or by none. They differ in their inputs alone,
// and many have the same one, so it completes each input once.
type completion struct {
	by Definition
	// inputs has what each input becomes.
	inputs map[string]completedInput
}

// completedInput is what a definition makes of an input, unless the trigger with it shares with none.
type completedInput struct {
	input  *apiextensionsv1.JSON
	shares bool
}

// of returns the trigger as its definition completes it. It returns false if the definition refuses the trigger or gives it another
// key, so that it shares with none. Without a definition, the trigger is complete, unless it lacks a key.
func (c *completion) of(w *whole) (*Trigger, bool) {
	t := &w.Trigger
	if c.by == nil {
		return t, !w.isCompleted()
	}
	text := ""
	if t.Spec.Input != nil {
		text = string(t.Spec.Input.Raw)
	}
	known, ok := c.inputs[text]
	if !ok {
		known = completed(t, c.by)
		if c.inputs == nil {
			c.inputs = map[string]completedInput{}
		}
		c.inputs[text] = known
	}
	if !known.shares {
		return nil, false
	}
	complete := *t
	complete.Spec.Input = known.input
	return &complete, true
}

func completed(t *Trigger, by Definition) completedInput {
	spec, errs := by.Complete(&t.Spec, t.Labels)
	return completedInput{
		input:  spec.Input,
		shares: len(errs) == 0 && spec.ConcurrencyKey == t.Spec.ConcurrencyKey && spec.IdempotencyKey == "",
	}
}
