// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// unchangedFor measures the time since this process saw the last change.
func TestUnchangedFor(t *testing.T) {
	clock := clocktesting.NewFakeClock(wrappers.Epoch.Time)
	o := newSightings(clock)
	expect := func(value any, want time.Duration) {
		t.Helper()
		if got := o.unchangedFor("lease", value); got != want {
			t.Errorf("unchanged for %s, want %s", got, want)
		}
	}
	expect("a", 0)
	clock.Step(5 * time.Second)
	expect("a", 5*time.Second)
	clock.Step(5 * time.Second)
	expect("a", 10*time.Second)
	expect("b", 0)
	clock.Step(time.Second)
	expect("b", time.Second)
	if got := o.unchangedFor("another", "b"); got != 0 {
		t.Errorf("another subject is unchanged for %s", got)
	}
	if got := o.seenFor("lease"); got != time.Second {
		t.Errorf("seen for %s", got)
	}
	o.forget("lease", "another")
	if got := o.seenFor("lease"); got != 0 {
		t.Errorf("forgotten, but seen for %s", got)
	}
	expect("b", 0)
	if got := newSightings(clock).unchangedFor("lease", "b"); got != 0 {
		t.Errorf("another process has seen it unchanged for %s", got)
	}
}

func TestHoldOff(t *testing.T) {
	clock := clocktesting.NewFakeClock(wrappers.Epoch.Time)
	o := newSightings(clock)
	if got := o.holdOff("a"); got != 0 {
		t.Errorf("a run that was not refused waits %s", got)
	}
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		want := time.Duration(seconds) * time.Second
		if got := o.refused("a"); got != want {
			t.Errorf("refused: wait %s, want %s", got, want)
		}
		if got := o.holdOff("a"); got != want {
			t.Errorf("hold off %s, want %s", got, want)
		}
	}
	clock.Step(59 * time.Second)
	if got := o.holdOff("a"); got != time.Second {
		t.Errorf("hold off %s, want 1s", got)
	}
	clock.Step(time.Hour)
	if got := o.holdOff("a"); got != 0 {
		t.Errorf("hold off %s after its time", got)
	}
	o.accepted("a")
	if got := o.refused("a"); got != time.Second {
		t.Errorf("refused after it was accepted: wait %s, want 1s", got)
	}
	if got := o.holdOff("b"); got != 0 {
		t.Errorf("another run waits %s", got)
	}
}

func TestDeletedTokens(t *testing.T) {
	o := newSightings(clocktesting.NewFakeClock(wrappers.Epoch.Time))
	o.noteDeleted("token-a")
	if !o.wasDeleted("token-a") || o.wasDeleted("token-b") {
		t.Error("the wrong tokens count as deleted")
	}
}
