// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import "github.com/jobrun-dev/jobrun/api/v1alpha1"

// EventType says what happened to a run.
type EventType string

// Types of events.
const (
	// EventTrigger is a JobRun that is a run: it was answered Created, or it is
	// a receipt that became a run because no other run stands for it.
	EventTrigger EventType = "run:trigger"
	// EventCoalesced is a trigger that the run absorbed; Skipped says which.
	EventCoalesced EventType = "run:coalesced"
	// EventLeased is that somebody holds the run's lease and executes it.
	EventLeased EventType = "run:leased"
	// EventProgress is a progress that differs from the one before.
	EventProgress EventType = "run:progress"
	// EventComplete is that the run ended well.
	EventComplete EventType = "run:complete"
	// EventFail is that the run failed.
	EventFail EventType = "run:fail"
	// EventCancel is that the run was cancelled.
	EventCancel EventType = "run:cancel"
	// EventDelete is that the run is gone.
	EventDelete EventType = "run:delete"
)

// Event is something that happened to a run.
type Event struct {
	// Type says what.
	Type EventType
	// Run is the run as it was seen then, which can be later than the event; of
	// EventDelete, as it was seen last. Of an EventCoalesced whose run is gone
	// it has only the namespace, name and uid. Events share it: do not change it.
	Run *v1alpha1.JobRun
	// Skipped is the trigger of EventCoalesced. Its input and labels are whole
	// if its receipt was seen, and as in status.coalesced.recent otherwise. nil
	// if both were gone before they were seen.
	Skipped *v1alpha1.CoalescedTrigger
	// Generation is that of the lease of EventLeased. 0 if the lease was over
	// before it was seen.
	Generation int64
	// Count is how many events this one stands for: more than 1 only for an
	// EventCoalesced without Skipped and an EventLeased without Generation.
	Count int64
}
