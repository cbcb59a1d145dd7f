// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/internal/testing/model"
)

// executing is a trigger whose run executes for a long time, so that the next run of its key waits.
var executing = Trigger{Name: "a", Key: "k", Fate: Hangs, Deadline: 1000}

// after returns a trigger that may coalesce, sent that many seconds after the start.
func after(seconds int, name string) Trigger {
	return Trigger{Name: name, Key: "k", Skip: true, After: time.Duration(seconds) * time.Second}
}

// P8: a run that stands for several triggers starts, and counts all but one of them. So does the receipt that a run absorbs.
func TestScheduleRunRepresentsSeveral(t *testing.T) {
	run, receipt := after(5, "b"), after(10, "c")
	run.Represents, receipt.Represents = 4, 3
	play(t, Scenario{Controllers: 1, Replicas: 1, Triggers: []Trigger{executing, run, receipt}},
		scene{until: "controller.* update status of JobRun b$"},
		scene{until: "controller.* update status of JobRun c$"},
	)
}

// P8: a run that stands for several triggers has no phase yet, because the claim of the run before it is not stored. It absorbs a
// receipt, and the controller counts that one first. The write that gives the run its phase counts nothing again.
func TestScheduleRunCountsBeforeItsPhase(t *testing.T) {
	worker, run, receipt := Trigger{Name: "a", Key: "k", Worker: true}, after(0, "b"), after(0, "c")
	run.Represents, receipt.Represents = 4, 3
	play(t, Scenario{Controllers: 1, Replicas: 1, Triggers: []Trigger{worker, run, receipt}, Workers: []Way{Works}},
		scene{until: "webhook.*of reconcile.* update RunKey c-", not: "user 2|user 3"},
		scene{until: "stores: create JobRun b$", not: "stores: update status of JobRun a|user 3"},
		scene{until: "stores: create JobRun c$", not: "stores: update status of JobRun a"},
		scene{until: "controller.* update status of JobRun b$", not: "stores: update status of JobRun a"},
		scene{until: "stores: update status of JobRun a$"},
	)
}

// P8: a receipt that stands for several triggers is counted on the run that waits, and the controller crashes before it binds the
// receipt. That run is cancelled before it starts. So the receipt is promoted, and stands for all of its triggers.
func TestScheduleCountedReceiptIsPromoted(t *testing.T) {
	run, receipt := after(0, "b"), after(0, "c")
	run.Then, receipt.Represents = Cancel, 3
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Crashes: 1}, Triggers: []Trigger{executing, run, receipt}},
		scene{until: "controller.* update status of JobRun a$", not: "user 2|user 3"},
		scene{until: "controller.* update status of JobRun b$", not: "users user 2 get|user 3"},
		scene{until: "stores: create JobRun c$", not: "users user 2 get"},
		scene{until: "controller.* update status of JobRun b$", not: "users user 2 get"},
		scene{until: "controller.* crashes$"},
		scene{until: "stores: update JobRun b$", not: "controller"},
		scene{until: "controller.* update status of JobRun c$"},
	)
}

// P8: the run that a receipt was answered with is refused after the webhook. The receipt is promoted, and stands for all of its
// triggers, also for those of the receipt that it absorbs.
func TestScheduleReceiptOfNobodyIsPromoted(t *testing.T) {
	first, receipt, next := after(0, "a"), after(0, "b"), after(30, "c")
	receipt.Represents, next.Represents = 3, 5
	receipt.Fate, receipt.Deadline = Hangs, 1000
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: []Trigger{first, receipt, next}},
		scene{until: "webhook.* create RunKey c-", not: "user 2"},
		scene{until: "stores: create JobRun b$", not: "stores: create JobRun a"},
		scene{until: "create JobRun a: a later admission plugin refuses it", not: "stores: create JobRun a"},
		scene{until: "controller.* update status of JobRun b$"},
	)
}

// P9: the answer to a create is lost. The receipt is counted and bound, and is beyond the history. It stays, so the same create, sent
// again 50 s later, is not stored and counted again.
func TestScheduleReceiptIsSentAgain(t *testing.T) {
	receipt := after(10, "c")
	receipt.Represents, receipt.Again = 3, 50*time.Second
	triggers := []Trigger{executing, after(5, "b"), receipt, after(20, "d"), after(21, "e"), after(22, "f")}
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: triggers},
		scene{until: "stores: create JobRun c: its answer is lost"},
		scene{until: "controller.* delete JobRun d$"},
		scene{until: "admission of JobRun c: at"},
	)
}

// P9: the answer to a create is lost. The run executes, and its TTL is 0. It stays, so the same create, sent again 50 s later, does
// not execute again.
func TestScheduleRunIsSentAgain(t *testing.T) {
	run := Trigger{Name: "a", Key: "k", Skip: true, Represents: 3, Again: 50 * time.Second, Brief: true}
	play(t, Scenario{Controllers: 1, Replicas: 1, Options: model.Options{Faults: 1}, Triggers: []Trigger{run}},
		scene{until: "stores: create JobRun a: its answer is lost"},
		scene{until: "controller.* update status of JobRun a$"}, // Leased
		scene{until: "controller.* update status of JobRun a$"}, // Completed
		scene{until: "admission of JobRun a: at"},
		scene{until: "controller.* delete JobRun a$"},
	)
}
