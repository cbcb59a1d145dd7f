// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// What an API server may do with a create.
const (
	stores = iota
	refuses
	conflicts
	drops // the field
	bypasses
	losesIt // The answer is lost, and nothing is stored.
	losesAnswer
	slow // slower than a search
)

// Each trigger that was accepted is represented exactly once, and none that was not, in any order of arrivals, departures and
// answers.
func TestPropertyEachTriggerIsRepresentedOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fates := rapid.SliceOfN(rapid.SampledFrom([]int{stores, stores, stores, refuses, conflicts, drops, bypasses, losesIt, losesAnswer, slow}), 40, 40).Draw(rt, "fates")
		pauses := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, 0, 0, time.Millisecond, latency, 3 * latency}), 1, 25).Draw(rt, "pauses")
		leaving := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, 0, 0, time.Millisecond, latency, latency + time.Millisecond, longestHold}), len(pauses), len(pauses)).Draw(rt, "leaving")
		isDefined := rapid.Bool().Draw(rt, "defined")
		areBare := rapid.SliceOfN(rapid.Bool(), len(pauses), len(pauses)).Draw(rt, "bare")
		var failures []string
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t)
			if isDefined {
				a.by = compiled(t, func(d *v1alpha1.JobDefinition) { d.Spec.InputSchema, d.Spec.ConcurrencyKeyExpression = nil, `"k"` })
			}
			a.answer, a.lose = fated(fates)
			var all []*call
			for i, pause := range pauses {
				c := a.trigger(i, func(t *Trigger) {
					if areBare[i] {
						t.Spec.ConcurrencyKey, t.Spec.Coalesce = "", ""
					}
				})
				if leaving[i] > 0 {
					time.AfterFunc(leaving[i], c.leave)
				}
				all = append(all, c)
				time.Sleep(pause)
			}
			collected := &failed{}
			wantOnce(collected, a, all, nil)
			wantCounts(collected, a)
			failures = collected.texts
		})
		if len(failures) > 0 {
			rt.Fatal(failures)
		}
	})
}

func fated(fates []int) (answer func(int, *v1alpha1.JobRun) error, lose func(int) error) {
	fate := func(n int) int { return fates[n%len(fates)] }
	answer = func(n int, run *v1alpha1.JobRun) error {
		switch fate(n) {
		case refuses:
			return errors.New("refused")
		case conflicts:
			return conflict()
		case losesIt:
			return &jobrun.UnansweredError{Name: run.Name}
		case slow:
			time.Sleep(2 * longestHold)
		case drops:
			run.Spec.Represents = nil
		case bypasses:
			run.Spec.Admission = nil
		}
		return nil
	}
	lose = func(n int) error {
		if fate(n) == losesAnswer {
			return &jobrun.UnansweredError{Name: fmt.Sprint("run-", n)}
		}
		return nil
	}
	return answer, lose
}

// wantCounts checks that each JobRun stands for as many triggers as it says.
func wantCounts(t *failed, a *api) {
	for _, run := range a.stored {
		if r := run.Spec.Represents; r != nil && int(r.Count) != len(inputsOf(run)) {
			t.Errorf("%s stands for %d, and tells of %q", run.Name, r.Count, inputsOf(run))
		}
	}
}

// failed collects failures.
type failed struct{ texts []string }

func (f *failed) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}
