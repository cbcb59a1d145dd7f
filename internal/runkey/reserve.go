// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Trigger is a trigger and the keys that it asks for.
type Trigger struct {
	Run            Identity
	JobName        string
	ConcurrencyKey string
	IdempotencyKey string
	Coalesce       v1alpha1.CoalescePolicy
	Time           metav1.Time
	// Terms are those of the idempotency key, if this delivery brings it.
	Terms Terms
	// Request is the UID of the admission request. The API server may send a request twice.
	Request string
}

// Verdict is the kind of a key's answer to a trigger.
type Verdict int

const (
	// Reserved means that the key names the trigger's run, or will once Next is stored.
	Reserved Verdict = iota
	// Absorbed means that the waiting run stands for the trigger.
	Absorbed
	// Delivered means that an earlier trigger had the same idempotencyKey.
	Delivered
	// Refused means that a run waits and the trigger did not ask to coalesce.
	Refused
	// SameName means that the key names a run that has the trigger's name, but another token. If a live read
	// shows no JobRun of that name, Next takes the reservation over. Otherwise the name is taken.
	SameName
)

// Answer is a key's answer to a trigger.
type Answer struct {
	Verdict Verdict
	// Run is the run that stands for the trigger. For Refused and SameName it is the run that the key names.
	Run Identity
	// Next is the key to store before the answer holds; nil if there is nothing to store.
	Next *v1alpha1.RunKeySpec
}

// Matches reports whether key is the row of this kind, job and value. The name of a RunKey is a hash, which
// two keys may share, so callers compare the whole key.
func Matches(key *v1alpha1.RunKeySpec, kind v1alpha1.RunKeyKind, jobName, value string) bool {
	return key.Kind == kind && key.JobName == jobName && key.Key == value
}

// Reserve answers a trigger from its concurrency key. A nil key is free. While the place is free, the first run in line
// counts as the waiting run, so that no trigger overtakes the line.
func Reserve(key *v1alpha1.RunKeySpec, t Trigger) Answer {
	waiting := NextToStart(key)
	switch {
	case waiting == nil:
		return Answer{Verdict: Reserved, Run: t.Run, Next: reservedFor(key, t)}
	case waiting.Token == t.Run.Token:
		return Answer{Verdict: Reserved, Run: t.Run}
	case waiting.RunName == t.Run.RunName:
		return Answer{Verdict: SameName, Run: waiting.RunIdentity, Next: reservedFor(key, t)}
	case t.IdempotencyKey != "" && waiting.IdempotencyKey == t.IdempotencyKey:
		return Answer{Verdict: Delivered, Run: waiting.RunIdentity}
	default:
		return Answer{Verdict: PolicyOf(t.Coalesce).Verdict, Run: waiting.RunIdentity}
	}
}

func reservedFor(key *v1alpha1.RunKeySpec, t Trigger) *v1alpha1.RunKeySpec {
	next := concurrencyKey(key, t.JobName, t.ConcurrencyKey)
	next.Pending = &v1alpha1.PendingRun{RunIdentity: t.Run, IdempotencyKey: t.IdempotencyKey, Time: &t.Time}
	if Line(next).RunName == t.Run.RunName {
		next.Line = nil // Its JobRun is gone.
	}
	return next
}

// Own answers a trigger from its idempotency key. A nil key is free. owner is the run that stands for the
// trigger by its concurrency key: its own run, or the run that absorbed it.
func Own(key *v1alpha1.RunKeySpec, t Trigger, owner Identity) Answer {
	current := Owner(key)
	next := OwnedBy(t.JobName, t.IdempotencyKey, owner, t.Terms)
	if t.Terms.TTLSeconds > 0 {
		next.Request = t.Request
	}
	switch {
	case current == Identity{}:
		return Answer{Verdict: Reserved, Run: owner, Next: next}
	case current.Token == t.Run.Token:
		return Answer{Verdict: Reserved, Run: owner}
	case current.RunName == t.Run.RunName && mayTakeOver(key, t, owner):
		return Answer{Verdict: SameName, Run: current, Next: next}
	default:
		return Answer{Verdict: Delivered, Run: current}
	}
}

// mayTakeOver reports whether owner may take an idempotency key from a run of the trigger's name, if no such JobRun exists (P10). A
// request that the API server sends again may always do that. Without a TTL, a trigger may do it for itself: only one JobRun of
// the name can be stored. But if another run stands for the trigger, the earlier create may still be stored.
func mayTakeOver(key *v1alpha1.RunKeySpec, t Trigger, owner Identity) bool {
	return (key.Request != "" && key.Request == t.Request) || (TermsIn(key).TTLSeconds == 0 && owner == t.Run)
}

// OwnedBy returns the row of an idempotency key that owner owns, on the terms of the delivery that brought it.
func OwnedBy(jobName, key string, owner Identity, terms Terms) *v1alpha1.RunKeySpec {
	return &v1alpha1.RunKeySpec{
		Kind: v1alpha1.RunKeyIdempotency, JobName: jobName, Key: key, Owner: &owner,
		IdempotencyTTLSeconds: terms.TTLSeconds, IdempotencyRelease: terms.Release,
	}
}

// concurrencyKey returns a copy of key to change, or a new row if key is nil.
func concurrencyKey(key *v1alpha1.RunKeySpec, jobName, value string) *v1alpha1.RunKeySpec {
	if key != nil {
		return key.DeepCopy()
	}
	return &v1alpha1.RunKeySpec{Kind: v1alpha1.RunKeyConcurrency, JobName: jobName, Key: value}
}
