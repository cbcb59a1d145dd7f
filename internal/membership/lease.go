// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import (
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// Duration is the time for which a Lease counts after a renewal. So the homes of a killed replica move after 5 s.
	Duration = 5 * time.Second
	// RenewEvery is the time between two renewals. Three tries fit into Duration, so a member survives two that are lost. A
	// shorter time would cost more writes: now they are two in three seconds for each replica.
	RenewEvery = 1500 * time.Millisecond
	// renewTimeout bounds one renewal. It leaves time for a second try within Duration.
	renewTimeout = 2500 * time.Millisecond
	// remains is the time for which the Lease of a dead member stays.
	remains = time.Minute

	// NotesLevel is the first protocol level that knows notes of Jobs that may still execute, in RunKeys.
	NotesLevel = 2
	// MemoryLevel is the first protocol level that knows what an idempotency RunKey remembers of its owner.
	MemoryLevel = 3
	// DefinitionsLevel is the first protocol level that knows JobDefinitions. A replica of a lower level takes a run of a
	// definition for a worker's, and its lease for one that nobody renews.
	DefinitionsLevel = 4
	// RepresentsLevel is the first protocol level that knows JobRuns that stand for several triggers. A replica of a lower level
	// counts one trigger for each.
	RepresentsLevel = 5
	// ProtocolLevel is the level of this version: what it can read and write in RunKeys and statuses.
	ProtocolLevel = RepresentsLevel
	// formerLevel is the level of the versions that elect a leader and keep no Lease of a member.
	formerLevel = 1
	// formerPatience is the time for which the leader of a former version counts after its last renewal. It exceeds the 15 s
	// of that Lease by the time that the next leader needs to take it.
	formerPatience = 30 * time.Second

	// sharing members share the homes out.
	sharing = "sharing"
	// electing members elect a leader, which owns all homes (--leader-elect).
	electing = "electing"
)

// newLease returns the Lease with which a member begins or renews its membership.
func newLease(namespace, name, identity, kind string, now time.Time) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		TypeMeta: metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Labels:      map[string]string{v1alpha1.LabelMember: kind},
			Annotations: map[string]string{v1alpha1.AnnotationProtocolLevel: strconv.Itoa(ProtocolLevel)},
		},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity:       &identity,
			LeaseDurationSeconds: ptr.To(int32(Duration / time.Second)),
			RenewTime:            ptr.To(metav1.NewMicroTime(stored(now))),
		},
	}
}

// levelOf returns the protocol level that a member's Lease states. Without a level it is the lowest.
func levelOf(lease *coordinationv1.Lease) int {
	level, err := strconv.Atoi(lease.Annotations[v1alpha1.AnnotationProtocolLevel])
	if err != nil {
		return formerLevel
	}
	return level
}
