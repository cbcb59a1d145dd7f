// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Trigger is what a trigger asks of its keys.
type Trigger struct {
	Run            Identity
	JobName        string
	ConcurrencyKey string
	IdempotencyKey string
	Coalesce       v1alpha1.CoalescePolicy
	Time           metav1.Time
}

// Verdict says what a key answers to a trigger.
type Verdict int

const (
	// Reserved means that the key is the trigger's, or will be once Next is stored.
	Reserved Verdict = iota
	// Absorbed means that the waiting run stands for the trigger.
	Absorbed
	// Delivered means that the trigger was delivered before.
	Delivered
	// Refused means that a run waits and the trigger did not ask to coalesce.
	Refused
	// SameName means that the key is held under the trigger's own name by
	// another token. If no such JobRun is there, the reservation is void and
	// Next takes it over; otherwise the name is taken.
	SameName
)

// Answer is a key's answer to a trigger.
type Answer struct {
	Verdict Verdict
	// Run is the run that stands for the trigger, or the one in its way.
	Run Identity
	// Next is the key to store before the answer holds; nil if it holds as it is.
	Next *v1alpha1.RunKeySpec
}

// Matches reports whether key is the row of exactly this kind, job and key. The
// name of a RunKey is a hash, so the whole key is compared too.
func Matches(key *v1alpha1.RunKeySpec, kind v1alpha1.RunKeyKind, jobName, value string) bool {
	return key.Kind == kind && key.JobName == jobName && key.Key == value
}

// Reserve answers a trigger from its concurrency key; nil means that the key is free.
func Reserve(key *v1alpha1.RunKeySpec, t Trigger) Answer {
	waiting := Pending(key)
	switch {
	case waiting == Identity{}:
		return Answer{Verdict: Reserved, Run: t.Run, Next: reservedFor(key, t)}
	case waiting.Token == t.Run.Token:
		return Answer{Verdict: Reserved, Run: t.Run}
	case waiting.RunName == t.Run.RunName:
		return Answer{Verdict: SameName, Run: waiting, Next: reservedFor(key, t)}
	case t.IdempotencyKey != "" && key.Pending.IdempotencyKey == t.IdempotencyKey:
		return Answer{Verdict: Delivered, Run: waiting}
	default:
		return Answer{Verdict: PolicyOf(t.Coalesce).Verdict, Run: waiting}
	}
}

func reservedFor(key *v1alpha1.RunKeySpec, t Trigger) *v1alpha1.RunKeySpec {
	next := concurrencyKey(key, t.JobName, t.ConcurrencyKey)
	next.Pending = &v1alpha1.PendingRun{
		RunIdentity:    t.Run,
		IdempotencyKey: t.IdempotencyKey,
		Time:           &t.Time,
	}
	return next
}

// Own answers a trigger from its idempotency key; nil means that the key is
// free. owner is the run that stands for the trigger so far.
func Own(key *v1alpha1.RunKeySpec, t Trigger, owner Identity) Answer {
	current := Owner(key)
	next := OwnedBy(t.JobName, t.IdempotencyKey, owner)
	switch {
	case current == Identity{}:
		return Answer{Verdict: Reserved, Run: owner, Next: next}
	case current.Token == t.Run.Token:
		return Answer{Verdict: Reserved, Run: owner}
	case current.RunName == t.Run.RunName:
		return Answer{Verdict: SameName, Run: current, Next: next}
	default:
		return Answer{Verdict: Delivered, Run: current}
	}
}

// OwnedBy is an idempotency key in the hands of owner.
func OwnedBy(jobName, key string, owner Identity) *v1alpha1.RunKeySpec {
	return &v1alpha1.RunKeySpec{
		Kind:    v1alpha1.RunKeyIdempotency,
		JobName: jobName,
		Key:     key,
		Owner:   &owner,
	}
}

// concurrencyKey is a copy of key to change, or a new one if the key is free.
func concurrencyKey(key *v1alpha1.RunKeySpec, jobName, value string) *v1alpha1.RunKeySpec {
	if key != nil {
		return key.DeepCopy()
	}
	return &v1alpha1.RunKeySpec{Kind: v1alpha1.RunKeyConcurrency, JobName: jobName, Key: value}
}
