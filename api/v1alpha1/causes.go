// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Types of the causes in the details of a 409 that refuses a trigger because its concurrencyKey is taken. The field of
// each cause is spec.concurrencyKey. An answer has either CausePendingRun, or CauseReservedRun and the causes after it.
const (
	// CausePendingRun means that a run waits for the key. The message is the name of the run.
	CausePendingRun metav1.CauseType = "PendingRun"
	// CauseReservedRun means that the key is reserved for a run that does not exist: the create of the run is under way or
	// was refused after the webhook, or the run was deleted. The message is the name of that run.
	CauseReservedRun metav1.CauseType = "ReservedRun"
	// CauseReservedAt goes with CauseReservedRun. The message is the time of the reservation, as RFC 3339. There is no such
	// cause if the time is not known.
	CauseReservedAt metav1.CauseType = "ReservedAt"
	// CauseFreeBy goes with CauseReservedRun. The message is the time at which the reservation has ended at the latest if
	// the run does not come to exist, as RFC 3339. It holds as long as one controller runs. A controller that
	// starts later measures the grace period of the reservation anew.
	CauseFreeBy metav1.CauseType = "FreeBy"
)

// CauseOlderReplica is the type of the cause in the details of a 503 that refuses spec.represents while a replica of the operator
// is of a version that does not know it. The field is spec.represents. Nothing is reserved. Send each trigger alone.
const CauseOlderReplica metav1.CauseType = "OlderReplica"

// CauseRepresents is the type of the cause in the details of a 409 that refuses to cancel a JobRun, because it stands for several
// triggers and does not execute yet. The field is spec.cancel. The message is the number of triggers.
const CauseRepresents metav1.CauseType = "Represents"

// Types of the causes in the details of the gateway's answer to a batch of which nothing executes.
const (
	// CauseBatchItem names the item that was refused. The field is items[INDEX], from 0.
	CauseBatchItem metav1.CauseType = "BatchItem"
	// CauseBatchWithdrawn means that the batch was withdrawn after all items were accepted. The message is spec.batch.id of the
	// JobRuns, and the name of the details is that of the first item's JobRun.
	CauseBatchWithdrawn metav1.CauseType = "BatchWithdrawn"
)
