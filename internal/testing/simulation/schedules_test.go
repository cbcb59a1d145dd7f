// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"regexp"
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/internal/testing/model"
)

// scene is one part of a script. It lasts until a step is possible whose text matches until. That step is taken.
type scene struct {
	until string
	// not matches the steps that are not taken meanwhile, unless no other step is possible. Empty means none.
	not string
}

// play plays a scenario by a script. It fails if the script does not come to its end.
func play(t *testing.T, scenario Scenario, script ...scene) {
	t.Helper()
	scenario.Options.Direct = func(steps []model.Step) (model.Step, bool) {
		if len(script) == 0 {
			return model.Step{}, false
		}
		for _, step := range steps {
			if matches(script[0].until, step) {
				script = script[1:]
				return step, true
			}
		}
		for _, step := range steps {
			if !step.Hostile && (script[0].not == "" || !matches(script[0].not, step)) {
				return step, true
			}
		}
		return model.Step{}, false
	}
	if err := model.Run(t, func() error { return Simulate(scenario) }); err != nil {
		t.Fatal(err)
	}
	if len(script) > 0 {
		t.Fatalf("no step matched %q", script[0].until)
	}
}

func matches(pattern string, step model.Step) bool {
	return regexp.MustCompile(pattern).MatchString(step.String())
}

// secondOfKey are triggers of two runs of one key. The user deletes the first one.
var secondOfKey = []Trigger{{Name: "a", Key: "k", Then: Delete}, {Name: "b", Key: "k"}}

// P6, the fence: the create of a Job arrives when its run is gone, and the next run of the key executes.
func TestScheduleCreateArrivesLate(t *testing.T) {
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: secondOfKey},
		scene{until: "controller.* create Job a-1: the caller gives up", not: "^users|user 2"},
		scene{until: "stores: create Job b-1$"},
		scene{until: "late: create Job a-1"},
	)
}

// P6, the note: a Job has passed the fence when its run is deleted. It is stored before the next run of the key waits. The
// caches do not show it yet when that run is claimed.
func TestScheduleJobIsStoredLate(t *testing.T) {
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: secondOfKey},
		scene{until: "controller.* update RunKey", not: "^users|user 2"},
		scene{until: "stores: create Job a-1: the caller gives up", not: "^users|user 2"},
		scene{until: "(update|delete) RunKey c-", not: "user 2"},
		scene{until: "late: stores: create Job a-1", not: "user 2"},
		scene{until: "controller.* update RunKey", not: "sees Job |^(job-controller|garbage-collector)"},
	)
}

// P10, the release: a delivery is answered with a run that then fails and releases its key. The delivery is stored after that,
// and gets the outcome of that run. It does not execute, because the next delivery owns the key.
func TestScheduleDeliveryIsStoredAfterTheRelease(t *testing.T) {
	triggers := []Trigger{
		{Name: "a", Idempotency: "i", Releases: true, Fate: Hangs, Deadline: 1}, {Name: "b", Idempotency: "i", After: time.Second},
		{Name: "c", Idempotency: "i", After: 20 * time.Second},
	}
	play(t, Scenario{Controllers: 1, Replicas: 1, Triggers: triggers},
		scene{until: "webhook.* get RunKey i-"},
		scene{until: "controller.* delete RunKey i-", not: "stores: create JobRun b"},
		scene{until: "stores: create JobRun b"},
		scene{until: "stores: create Job c-1$"},
	)
}

// P10, the terms: b reserves its key, and a is a second delivery of it. Another create of b takes the reservation over, and is
// refused because b exists by then. So the key passes on to b, to which a is bound, on the terms of b.
func TestScheduleKeyPassesOnToTheRunThatBroughtIt(t *testing.T) {
	hangs := Trigger{Name: "b", Idempotency: "i", Fate: Hangs, Deadline: 1000}
	triggers := []Trigger{hangs, hangs, {Name: "a", Idempotency: "i", Remembered: 20}}
	play(t, Scenario{Controllers: 1, Replicas: 1, Triggers: triggers},
		scene{until: "user 1.* create RunKey i-", not: "user 2|user 3"},
		scene{until: "stores: create JobRun a", not: "stores: create JobRun b|user 2"},
		scene{until: "user 2.* update RunKey i-", not: "stores: create JobRun b"},
		scene{until: "user 1 .*stores: create JobRun b"},
		scene{until: "controller.* update RunKey i-"},
	)
}

// P10, the retention: the TTL of a run is over before its key remembers how it ended. The run waits for its key. So the key
// still remembers it after a restart of the controller.
func TestScheduleRunWaitsForItsKey(t *testing.T) {
	triggers := []Trigger{
		{Name: "a", Idempotency: "i", Remembered: 3600, Brief: true}, {Name: "a", Idempotency: "i", After: 20 * time.Second},
	}
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Crashes: 1}, Triggers: triggers},
		scene{until: "controller.* delete JobRun a$", not: "controller.* update RunKey i-"},
		scene{until: "controller.* crashes$"},
		scene{until: "controller.* update status of JobRun a$", not: "controller.* create Job"},
	)
}

// P9, the other answer: c is a delivery of the key of b. The row of the concurrency key answered it with a, which has the same
// key and is refused after that. b ends and has a TTL of 0 while c is being bound to b. So b stays until c is bound.
func TestScheduleRunWaitsForADelivery(t *testing.T) {
	triggers := []Trigger{
		{Name: "a", Key: "k", Idempotency: "i"}, {Name: "b", Idempotency: "i", Brief: true, Worker: true}, {Name: "c", Key: "k", Idempotency: "i"},
	}
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: triggers, Workers: []Way{Works}},
		scene{until: "webhook.* create RunKey c-", not: "user 2|user 3"},
		scene{until: "webhook.*user 3.* get cached RunKey i-", not: "user 1|user 2"},
		scene{until: "stores: create JobRun b$", not: "user 1|user 3"},
		scene{until: "stores: create JobRun c$", not: "user 1|webhook.* sees RunKey created: i-"},
		scene{until: "create JobRun a: a later admission plugin refuses it", not: "stores: create JobRun a"},
		scene{until: "controller.* get JobRun a$", not: "worker"},
		scene{until: "controller.* delete JobRun b$", not: "controller.* update status of JobRun c"},
	)
}

// P9, the order of lists: as above, but c is bound to b while the controller lists what b must wait for. c was read with b before b
// ended, so it gets no outcome in the same write.
func TestScheduleDeliveryIsBoundDuringTheRetention(t *testing.T) {
	triggers := []Trigger{
		{Name: "a", Key: "k", Idempotency: "i"}, {Name: "b", Idempotency: "i", Brief: true, Worker: true}, {Name: "c", Key: "k", Idempotency: "i"},
	}
	const retention = `controller.* reconcile\(\{ns  b \}\) list cached JobRun`
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: triggers, Workers: []Way{Works}},
		scene{until: "webhook.* create RunKey c-", not: "user 2|user 3"},
		scene{until: "webhook.*user 3.* get cached RunKey i-", not: "user 1|user 2"},
		scene{until: "stores: create JobRun b$", not: "user 1|user 3"},
		scene{until: "stores: create JobRun c$", not: "user 1|webhook.* sees RunKey created: i-"},
		scene{until: "create JobRun a: a later admission plugin refuses it", not: "stores: create JobRun a"},
		scene{until: "controller.* get JobRun a$", not: "worker"},
		scene{until: "controller.*reconcile.*c-.* get cached JobRun b$", not: "worker"},
		scene{until: "stores: update status of JobRun b$", not: "controller.* update status of JobRun c"},
		scene{until: "stores: update status of JobRun b$", not: "controller.* update status of JobRun c"},
		scene{until: retention, not: "controller.* update status of JobRun c"},
		scene{until: retention, not: "controller.* update status of JobRun c"},
		scene{until: "controller.* update status of JobRun c$"},
		scene{until: "controller.* sees JobRun changed: c", not: `controller.* reconcile\(\{ns  b`},
	)
}

// P10, the absorbed name: two creates of a bring one idempotencyKey, for different keys. b absorbs the second one while the first
// one, which owns the idempotencyKey, is being stored.
func TestScheduleAbsorbedTriggerLeavesTheKeyToItsName(t *testing.T) {
	triggers := []Trigger{{Name: "b", Key: "l", Worker: true}, {Name: "a", Key: "k", Idempotency: "i"}, {Name: "a", Key: "l", Skip: true, Idempotency: "i"}}
	play(t, Scenario{Controllers: 1, Replicas: 1, Triggers: triggers, Workers: []Way{Works}},
		scene{until: "stores: create JobRun b$", not: "user 2|user 3"},
		scene{until: "webhook.*user 2.* create RunKey i-", not: "user 3|worker"},
		scene{until: "user 3.*(get JobRun a|stores: create JobRun a)$", not: "user 2.*stores|worker|controller"},
		scene{until: "user 2.*stores: create JobRun a$", not: "user 3|worker|controller"},
	)
}

// P9, the outcome: b is deleted by its TTL while the controller does not see its delivery c yet. The deletion is slow. c is bound
// meanwhile, and gets the outcome of b in the same write.
func TestScheduleDeliveryIsBoundWithTheOutcome(t *testing.T) {
	triggers := []Trigger{{Name: "b", Idempotency: "i", Brief: true, Worker: true}, {Name: "c", Idempotency: "i"}}
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: triggers, Workers: []Way{Works}},
		scene{until: "controller.* delete JobRun b: the caller gives up", not: "user 2|controller.* sees JobRun created: c"},
		scene{until: "controller.* update status of JobRun c$"},
		scene{until: "late: delete JobRun b$"},
	)
}

// P9, one look: the controller has read b as Leased when b ends and its TTL deletes it, slowly. Then c is stored, a delivery of b,
// and the same reconcile lists it. It does not bind c to what it read before.
func TestScheduleDeliveryComesDuringALook(t *testing.T) {
	triggers := []Trigger{{Name: "b", Key: "k", Idempotency: "i", Brief: true, Worker: true}, {Name: "c", Key: "k", Idempotency: "i"}}
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: triggers, Workers: []Way{Works}},
		scene{until: "stores: update status of JobRun b$", not: "user 2"},
		scene{until: "controller.* sees JobRun changed: b", not: "user 2|apiserver"},
		scene{until: "controller.*reconcile.*c-.* list cached JobRun", not: "user 2|apiserver"},
		scene{until: "controller.* delete JobRun b: the caller gives up", not: "user 2|controller.*reconcile.*c-"},
		scene{until: "controller.* sees JobRun created: c", not: "controller.*reconcile"},
		scene{until: "controller.* update status of JobRun c$"},
		scene{until: "late: delete JobRun b$"},
	)
}

// P7, the line: a is stored when its place is given away, and waits in line behind b. A worker claims b, which leaves the place
// free until the controller seats a. The trigger of c comes in between, and does not overtake a.
func TestScheduleTriggerComesWhileThePlaceIsFree(t *testing.T) {
	triggers := []Trigger{{Name: "a", Key: "k", Worker: true}, {Name: "b", Key: "k", Worker: true}, {Name: "c", Key: "k", Skip: true, Worker: true}}
	play(t, Scenario{Controllers: 1, Replicas: 1, Triggers: triggers, Workers: []Way{Works}},
		scene{until: "webhook.* create RunKey c-", not: "user 2|user 3"},
		scene{until: "controller.*c-.* get cached JobRun a$", not: "user"},
		scene{until: "controller.*c-.* list cached JobRun", not: "user"},
		scene{until: "time leaps by 15s"},
		scene{until: "controller.* delete RunKey c-", not: "user"},
		scene{until: "stores: create JobRun b$", not: "user 1|user 3"},
		scene{until: "stores: create JobRun a$", not: "user 3|worker"},
		scene{until: "controller.* update status of JobRun b$", not: "user 3|worker"},
		scene{until: "webhook.* update RunKey c-", not: "user 3"},
		scene{until: "stores: create JobRun c$", not: "controller"},
	)
}

// P6, the time of a note: as above, but the next run of the key is triggered 20 s later, and the Job is stored then.
func TestScheduleJobIsStoredMuchLater(t *testing.T) {
	later := []Trigger{secondOfKey[0], secondOfKey[1]}
	later[1].After = 20 * time.Second
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: later},
		scene{until: "controller.* update RunKey", not: "^users"},
		scene{until: "stores: create Job a-1: the caller gives up", not: "^users"},
		scene{until: "(update|delete) RunKey c-"},
		scene{until: "admission of JobRun b: at"},
		scene{until: "late: stores: create Job a-1"},
		scene{until: "controller.* update RunKey", not: "sees Job |^(job-controller|garbage-collector)"},
	)
}

// P6, the lock: a create of a Job has passed the fence and is slow, and its controller tries again. That Job is stored, ends,
// and its run has its outcome. Its TTL is 0. Then the first create is stored, 20 s later, while the next run of the key is
// claimed.
func TestScheduleFinishedJobGoes(t *testing.T) {
	triggers := []Trigger{{Name: "a", Key: "k", Fleeting: true}, {Name: "b", Key: "k", After: 20 * time.Second}}
	play(t, Scenario{Controllers: 1, Replicas: 1, Locked: true, Options: model.Options{Faults: 1}, Triggers: triggers},
		scene{until: "stores: create Job a-1: the caller gives up"},
		scene{until: "admission of JobRun b: at"},
		scene{until: "late: stores: create Job a-1"},
		scene{until: "controller.* update RunKey", not: "sees Job |^(job-controller|garbage-collector)"},
	)
}

// P6, the note: as in TestScheduleJobIsStoredLate, but a worker claims the next run.
func TestScheduleWorkerClaimsLate(t *testing.T) {
	triggers := []Trigger{secondOfKey[0], secondOfKey[1]}
	triggers[1].Worker = true
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: triggers, Workers: []Way{Works}},
		scene{until: "controller.* update RunKey", not: "^users|user 2"},
		scene{until: "stores: create Job a-1: the caller gives up", not: "^users|user 2"},
		scene{until: "(update|delete) RunKey c-", not: "user 2"},
		scene{until: "late: stores: create Job a-1", not: "user 2"},
		scene{until: "webhook.*of reconcile.* update RunKey", not: "sees Job |^(job-controller|garbage-collector)"},
	)
}
