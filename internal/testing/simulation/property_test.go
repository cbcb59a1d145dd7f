// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jobrun-dev/jobrun/internal/testing/model"
)

// defaults are flags of rapid, unless the command line gives them. Its own 100 schedules of each property would be too few,
// because the schedules are short. The seed makes all runs play the same schedules, so that a change breaks the tests or does
// not. make explore plays new ones: it gives seed 0, which rapid replaces by one that it prints.
var defaults = map[string]string{"rapid.checks": "400", "rapid.seed": "1"}

func TestMain(m *testing.M) {
	for name, value := range defaults {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run()) // m.Run parses the command line, which overrides the defaults
}

// TestPropertyCalm plays calm simulations: see the package comment.
func TestPropertyCalm(t *testing.T) {
	check(t, func(rt *rapid.T) Scenario {
		return Scenario{
			Controllers: 1,
			Replicas:    2,
			Mishaps:     rapid.IntRange(0, 2).Draw(rt, "mishaps"),
		}
	})
}

// TestPropertyStorm plays stormy simulations: see the package comment.
func TestPropertyStorm(t *testing.T) {
	check(t, func(rt *rapid.T) Scenario {
		return Scenario{
			Controllers: rapid.IntRange(1, 2).Draw(rt, "controllers"),
			Replicas:    2,
			Mishaps:     rapid.IntRange(0, 1).Draw(rt, "mishaps"),
			Misversions: rapid.Bool().Draw(rt, "misversions"),
			Options: model.Options{
				Faults:  rapid.IntRange(0, 3).Draw(rt, "faults"),
				Crashes: rapid.IntRange(0, 2).Draw(rt, "crashes"),
			},
		}
	})
}

// TestPropertyRequeue lets leases expire while other runs of the key wait. An expired run with
// onLeaseExpired: Requeue waits again, and the run that waited becomes its receipt.
func TestPropertyRequeue(t *testing.T) {
	simulate(t, func(rt *rapid.T) Scenario {
		scenario := Scenario{
			Controllers: rapid.IntRange(1, 2).Draw(rt, "controllers"),
			Replicas:    1,
			Triggers:    rapid.SliceOfN(rapid.Custom(drawRequeued), 2, 6).Draw(rt, "triggers"),
			Workers:     []Way{rapid.SampledFrom([]Way{Dies, GivesBack}).Draw(rt, "way"), Dies},
		}
		if scenario.Controllers == 1 && rapid.Bool().Draw(rt, "calm") {
			return scenario
		}
		scenario.Options = model.Options{
			Faults:  rapid.IntRange(0, 3).Draw(rt, "faults"),
			Crashes: rapid.IntRange(0, 2).Draw(rt, "crashes"),
		}
		return scenario
	})
}

// TestPropertyLine sends triggers of one key without pause, while the creates of others are delayed for longer than the
// grace of a reservation. Whoever lost the waiting place by that gets it in the order of the line (P7).
func TestPropertyLine(t *testing.T) {
	simulate(t, func(rt *rapid.T) Scenario {
		triggers := []Trigger{{Name: "crowd", Key: "k", More: rapid.IntRange(20, 40).Draw(rt, "more"), Worker: true}}
		for _, name := range []string{"a", "b", "c", "d"}[:rapid.IntRange(1, 4).Draw(rt, "others")] {
			t := drawTrigger(rt)
			t.Name, t.Key = name, "k"
			t.Then = rapid.SampledFrom([]Afterthought{Nothing, Nothing, Nothing, Cancel, Delete}).Draw(rt, "seldom then")
			triggers = append(triggers, t)
		}
		return Scenario{
			Controllers: rapid.IntRange(1, 2).Draw(rt, "controllers"),
			Replicas:    1,
			Triggers:    triggers,
			Workers:     []Way{Works},
			Options: model.Options{
				Faults:  rapid.IntRange(2, 5).Draw(rt, "faults"),
				Crashes: rapid.IntRange(0, 1).Draw(rt, "crashes"),
			},
		}
	})
}

// TestPropertyFence lets controllers stop for a while, wherever they are, and creates of Jobs arrive late. Meanwhile others
// end, delete, expire and start the runs of the same key. No Job starts long after its lease, and no run is claimed while
// a Job of its key executes (P6).
func TestPropertyFence(t *testing.T) {
	simulate(t, func(rt *rapid.T) Scenario {
		return Scenario{
			Controllers: rapid.IntRange(2, 3).Draw(rt, "controllers"),
			Replicas:    2,
			Mishaps:     rapid.IntRange(0, 2).Draw(rt, "mishaps"),
			Triggers:    rapid.SliceOfN(rapid.Custom(drawFenced), 2, 5).Draw(rt, "triggers"),
			Workers:     []Way{Works},
			Options: model.Options{
				Faults:  rapid.IntRange(1, 4).Draw(rt, "faults"),
				Crashes: rapid.IntRange(0, 2).Draw(rt, "crashes"),
				Pauses:  rapid.IntRange(1, 4).Draw(rt, "pauses"),
			},
		}
	})
}

// TestPropertyDefined changes the definition of the job while its runs wait, start and end. A definition that holds runs back
// only delays them: all invariants hold, and once it is restored, every run ends.
func TestPropertyDefined(t *testing.T) {
	simulate(t, func(rt *rapid.T) Scenario {
		return Scenario{
			Controllers: rapid.IntRange(1, 2).Draw(rt, "controllers"),
			Replicas:    rapid.IntRange(1, 2).Draw(rt, "replicas"),
			Mishaps:     rapid.IntRange(0, 1).Draw(rt, "mishaps"),
			Triggers:    rapid.SliceOfN(rapid.Custom(drawDefined), 1, 4).Draw(rt, "triggers"),
			Workers:     []Way{Works}, // for what is triggered while there is no definition
			Defined:     rapid.SliceOfN(rapid.Custom(drawEdit), 1, 4).Draw(rt, "edits"),
			Options: model.Options{
				Faults:  rapid.IntRange(0, 2).Draw(rt, "faults"),
				Crashes: rapid.IntRange(0, 1).Draw(rt, "crashes"),
			},
		}
	})
}

// drawDefined draws a trigger of a job whose definition has the template.
func drawDefined(rt *rapid.T) Trigger {
	t := drawTrigger(rt)
	t.Worker, t.Fleeting, t.Defined = false, false, true
	return t
}

func drawEdit(rt *rapid.T) Edit {
	return Edit{
		After:  time.Duration(rapid.SampledFrom([]int{0, 0, 1, 10}).Draw(rt, "after")) * time.Second,
		Change: rapid.SampledFrom([]Change{Suspend, Unready, Remove, Restore}).Draw(rt, "change"),
	}
}

// drawFenced draws a trigger of one key. Its run mostly has a Job, and is often deleted and triggered again.
func drawFenced(rt *rapid.T) Trigger {
	t := drawTrigger(rt)
	t.Name, t.Key, t.Idempotency = rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "name of two"), "k", ""
	t.Worker = rapid.SampledFrom([]bool{false, false, false, true}).Draw(rt, "seldom worker")
	t.Deadline = rapid.SampledFrom([]int64{0, 0, 10}).Draw(rt, "deadline")
	t.Then = rapid.SampledFrom([]Afterthought{Nothing, Cancel, Delete, DeleteAndTriggerAgain}).Draw(rt, "then")
	return t
}

// TestPropertyDeadline gives deadlines to runs whose Jobs end, hang, stick or are refused. Each run gets its outcome at its
// deadline, and its key is free once nothing of it executes.
func TestPropertyDeadline(t *testing.T) {
	simulate(t, func(rt *rapid.T) Scenario {
		scenario := Scenario{
			Controllers: 1,
			Replicas:    1,
			Mishaps:     rapid.IntRange(0, 2).Draw(rt, "mishaps"),
			Triggers:    rapid.SliceOfN(rapid.Custom(drawBounded), 1, 4).Draw(rt, "triggers"),
			Workers:     []Way{Works},
		}
		if rapid.Bool().Draw(rt, "calm") {
			return scenario
		}
		scenario.Controllers = rapid.IntRange(1, 2).Draw(rt, "controllers")
		scenario.Options = model.Options{
			Faults:  rapid.IntRange(0, 3).Draw(rt, "faults"),
			Crashes: rapid.IntRange(0, 2).Draw(rt, "crashes"),
		}
		return scenario
	})
}

// TestPropertyJobs lets a cleaner and people delete Jobs, before and after they have ended. A Job that a process saw
// complete is never executed again by that process, and a run with onJobLost: Fail executes once.
func TestPropertyJobs(t *testing.T) {
	simulate(t, func(rt *rapid.T) Scenario {
		scenario := Scenario{
			Controllers: 1,
			Replicas:    1,
			Mishaps:     rapid.IntRange(0, 2).Draw(rt, "mishaps"),
			Cleans:      rapid.Bool().Draw(rt, "cleans"),
			Triggers:    rapid.SliceOfN(rapid.Custom(drawCleaned), 1, 3).Draw(rt, "triggers"),
		}
		if rapid.Bool().Draw(rt, "calm") {
			return scenario
		}
		scenario.Controllers = rapid.IntRange(1, 2).Draw(rt, "controllers")
		scenario.Options = model.Options{
			Faults:  rapid.IntRange(0, 2).Draw(rt, "faults"),
			Crashes: rapid.IntRange(0, 2).Draw(rt, "crashes"),
		}
		return scenario
	})
}

// TestPropertyMemory delivers triggers again, before and after their run has ended, and under the name of a run that is gone.
// While an idempotency key remembers how its owner ended, no delivery executes, and each gets that outcome. A run that failed
// or was cancelled releases its key if the first delivery asked for that (P10).
func TestPropertyMemory(t *testing.T) {
	simulate(t, func(rt *rapid.T) Scenario {
		scenario := Scenario{
			Controllers: 1,
			Replicas:    2,
			Triggers:    rapid.SliceOfN(rapid.Custom(drawDelivery), 2, 5).Draw(rt, "triggers"),
			Workers:     []Way{Works},
		}
		if rapid.Bool().Draw(rt, "calm") {
			return scenario
		}
		scenario.Controllers = rapid.IntRange(1, 2).Draw(rt, "controllers")
		scenario.Options = model.Options{
			Faults:  rapid.IntRange(0, 3).Draw(rt, "faults"),
			Crashes: rapid.IntRange(0, 2).Draw(rt, "crashes"),
		}
		return scenario
	})
}

// TestPropertyRepresents sends triggers that stand for several. Answers are lost, and the creates are sent again under the same name.
// Runs are displaced, cancelled and deleted, and receipts are promoted. Each trigger is counted once in the run that stands for it.
func TestPropertyRepresents(t *testing.T) {
	simulate(t, func(rt *rapid.T) Scenario {
		triggers := rapid.SliceOfN(rapid.Custom(drawRepresented), 2, 6).Draw(rt, "triggers")
		for i := range triggers {
			triggers[i].Name = fmt.Sprintf("%c", 'a'+i)
		}
		scenario := Scenario{
			Controllers: 1,
			Replicas:    2,
			Mishaps:     rapid.IntRange(0, 1).Draw(rt, "mishaps"),
			Triggers:    triggers,
			Workers:     []Way{rapid.SampledFrom([]Way{Works, Dies, GivesBack}).Draw(rt, "way"), Works},
		}
		if rapid.Bool().Draw(rt, "calm") {
			return scenario
		}
		scenario.Controllers = rapid.IntRange(1, 2).Draw(rt, "controllers")
		scenario.Options = model.Options{
			Faults:  rapid.IntRange(0, 4).Draw(rt, "faults"),
			Crashes: rapid.IntRange(0, 2).Draw(rt, "crashes"),
		}
		return scenario
	})
}

// drawRepresented draws a trigger of one key that mostly stands for several.
func drawRepresented(rt *rapid.T) Trigger {
	t := drawTrigger(rt)
	t.Key, t.Idempotency, t.Skip = "k", "", true
	t.Represents = rapid.SampledFrom([]int32{0, 2, 7, 1000}).Draw(rt, "represents")
	if t.Represents == 0 {
		t.Skip = rapid.Bool().Draw(rt, "often skip")
	}
	t.Again = time.Duration(rapid.SampledFrom([]int{0, 1, 20, 55}).Draw(rt, "again")) * time.Second
	t.Worker = rapid.Bool().Draw(rt, "often worker")
	t.Fleeting = t.Fleeting && !t.Worker
	t.Then = rapid.SampledFrom([]Afterthought{Nothing, Nothing, Nothing, Cancel, Delete}).Draw(rt, "seldom then")
	t.After = time.Duration(rapid.SampledFrom([]int{0, 0, 0, 2, 40}).Draw(rt, "after")) * time.Second
	t.More = rapid.SampledFrom([]int{0, 0, 1, 4}).Draw(rt, "more")
	return t
}

// TestPropertyRestored deletes JobRuns and restores them from a backup, while others of the same keys are triggered, executed and
// counted. What is restored takes no key, never executes, and ends Cancelled (P14).
func TestPropertyRestored(t *testing.T) {
	simulate(t, func(rt *rapid.T) Scenario {
		scenario := Scenario{
			Controllers: rapid.IntRange(1, 2).Draw(rt, "controllers"),
			Replicas:    2,
			Mishaps:     rapid.IntRange(0, 1).Draw(rt, "mishaps"),
			Triggers:    rapid.SliceOfN(rapid.Custom(drawRestored), 2, 5).Draw(rt, "triggers"),
			Workers:     []Way{rapid.SampledFrom([]Way{Works, Dies}).Draw(rt, "way"), Works},
		}
		if rapid.Bool().Draw(rt, "calm") {
			return scenario
		}
		scenario.Options = model.Options{
			Faults:  rapid.IntRange(0, 3).Draw(rt, "faults"),
			Crashes: rapid.IntRange(0, 2).Draw(rt, "crashes"),
		}
		return scenario
	})
}

// drawRestored draws a trigger whose JobRun is mostly restored from a backup.
func drawRestored(rt *rapid.T) Trigger {
	t := drawTrigger(rt)
	t.Then = rapid.SampledFrom([]Afterthought{Nothing, Cancel, DeleteAndRestore, DeleteAndRestore}).Draw(rt, "mostly restored")
	t.After = time.Duration(rapid.SampledFrom([]int{0, 0, 1, 30}).Draw(rt, "after")) * time.Second
	return t
}

// drawDelivery draws a trigger that mostly has the same idempotency key as the others. Nobody deletes its JobRun.
func drawDelivery(rt *rapid.T) Trigger {
	t := drawTrigger(rt)
	t.Name = rapid.SampledFrom([]string{"a", "a", "b", "c"}).Draw(rt, "name of three")
	t.Idempotency = rapid.SampledFrom([]string{"i", "i", "i", "j"}).Draw(rt, "mostly i")
	t.Remembered = rapid.SampledFrom([]int32{0, 20, 50, 3600}).Draw(rt, "mostly remembered")
	t.Releases = rapid.Bool().Draw(rt, "often releases")
	t.Brief = rapid.Bool().Draw(rt, "often brief")
	t.Then = rapid.SampledFrom([]Afterthought{Nothing, Nothing, Cancel}).Draw(rt, "seldom cancel")
	t.After = time.Duration(rapid.SampledFrom([]int{0, 0, 3, 30, 90}).Draw(rt, "after")) * time.Second
	t.More = rapid.IntRange(0, 1).Draw(rt, "more")
	if !t.Worker && rapid.Bool().Draw(rt, "fails") {
		t.Fate, t.Deadline = Hangs, 1
	}
	return t
}

// drawCleaned draws a trigger whose run has a Job.
func drawCleaned(rt *rapid.T) Trigger {
	t := drawTrigger(rt)
	t.Worker, t.Idempotency = false, ""
	t.Once = rapid.Bool().Draw(rt, "once")
	t.Then = rapid.SampledFrom([]Afterthought{Nothing, Nothing, Nothing, Cancel, DeleteAndTriggerAgain}).Draw(rt, "seldom then")
	return t
}

// drawBounded draws a trigger whose run has a deadline, or ends by itself.
func drawBounded(rt *rapid.T) Trigger {
	t := drawTrigger(rt)
	t.Worker = false
	t.Fate = rapid.SampledFrom([]Fate{Ends, Hangs, Refused, Sticks}).Draw(rt, "fate")
	t.Deadline = rapid.SampledFrom([]int64{1, 10, 100}).Draw(rt, "deadline")
	if t.Fate == Ends && rapid.Bool().Draw(rt, "unbounded") {
		t.Deadline = 0
	}
	return t
}

func check(t *testing.T, draw func(*rapid.T) Scenario) {
	t.Helper()
	simulate(t, func(rt *rapid.T) Scenario {
		scenario := draw(rt)
		scenario.Triggers = rapid.SliceOfN(rapid.Custom(drawTrigger), 1, 5).Draw(rt, "triggers")
		scenario.Workers = append(rapid.SliceOfN(rapid.SampledFrom([]Way{Works, Dies, GivesBack}), 0, 2).Draw(rt, "workers"), Works)
		scenario.Batches = rapid.SliceOfN(rapid.Custom(drawBatch), 0, 2).Draw(rt, "batches")
		return scenario
	})
}

func simulate(t *testing.T, draw func(*rapid.T) Scenario) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		scenario := draw(rt)
		length := rapid.SampledFrom([]int{0, 50, 200, 400}).Draw(rt, "length") // rapid's slices are short by themselves
		scenario.Options.Choices = rapid.SliceOfN(rapid.Uint16(), length, length).Draw(rt, "choices")
		if err := model.Run(t, func() error { return Simulate(scenario) }); err != nil {
			rt.Fatal(err)
		}
	})
}

func drawBatch(rt *rapid.T) Batch {
	members := rapid.SliceOfN(rapid.Custom(drawTrigger), 1, 3).Draw(rt, "members")
	return Batch{Members: members, Dies: rapid.IntRange(1, 2*len(members)).Draw(rt, "dies")}
}

// drawRequeued draws triggers of one key whose runs are executed by workers.
func drawRequeued(rt *rapid.T) Trigger {
	t := drawTrigger(rt)
	t.Name = rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(rt, "name of six")
	t.Key, t.Worker = "k", true
	t.Skip = rapid.SampledFrom([]bool{true, true, true, false}).Draw(rt, "mostly skip")
	t.Requeue = rapid.SampledFrom([]bool{true, true, true, false}).Draw(rt, "mostly requeue")
	t.Then = rapid.SampledFrom([]Afterthought{Nothing, Nothing, Nothing, Nothing, Cancel, Delete}).Draw(rt, "seldom then")
	return t
}

func drawTrigger(rt *rapid.T) Trigger {
	t := Trigger{
		Name:        rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "name"),
		Key:         rapid.SampledFrom([]string{"k", "k", "k", "l", ""}).Draw(rt, "key"),
		Skip:        rapid.Bool().Draw(rt, "skip"),
		Requeue:     rapid.Bool().Draw(rt, "requeue"),
		Idempotency: rapid.SampledFrom([]string{"", "", "i"}).Draw(rt, "idempotency"),
		Remembered:  rapid.SampledFrom([]int32{0, 0, 20, 3600}).Draw(rt, "remembered"),
		Releases:    rapid.SampledFrom([]bool{false, false, true}).Draw(rt, "releases"),
		Brief:       rapid.SampledFrom([]bool{false, false, true}).Draw(rt, "brief"),
		Fleeting:    rapid.Bool().Draw(rt, "fleeting"),
		Worker:      rapid.SampledFrom([]bool{false, false, true}).Draw(rt, "worker"),
		Then:        rapid.SampledFrom([]Afterthought{Nothing, Nothing, Cancel, Delete, DeleteAndTriggerAgain}).Draw(rt, "then"),
	}
	t.Skip = t.Skip && t.Key != ""
	return t
}
