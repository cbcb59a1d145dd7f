// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// giveBackTimeout fits between the deadline of an admission (8 s) and that of the API server (10 s).
const giveBackTimeout = 1500 * time.Millisecond

// Outcome is what became of a trigger.
type Outcome struct {
	Disposition v1alpha1.Disposition
	// Run stands for the trigger.
	Run runkey.Identity
	// KeyVersion is the version of the key that showed Run waiting; Coalesced only.
	KeyVersion string
	// Terms are those of the idempotency key, and Remembered is how Run ended, if the key remembers that; Idempotent only.
	Terms      runkey.Terms
	Remembered *v1alpha1.RememberedOutcome
}

// deliveredTo returns the outcome of a trigger that was delivered before. key is its idempotency key, and run stands for it.
func deliveredTo(run runkey.Identity, key *v1alpha1.RunKeySpec) Outcome {
	return Outcome{
		Disposition: v1alpha1.DispositionIdempotent, Run: run, Terms: runkey.TermsIn(key), Remembered: runkey.Remembered(key),
	}
}

// ConflictError means that a run waits for the trigger's key and that the trigger did not ask to coalesce.
type ConflictError struct {
	Pending runkey.Identity
	JobName string
	Key     string
	// Since is when Pending got its place in the key, in whole seconds. It is zero if the key does not record it.
	Since time.Time
	// Asked is when the trigger was received.
	Asked time.Time
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("run %s is pending for job %q, concurrencyKey %q", e.Pending.RunName, e.JobName, e.Key)
}

// InvalidError means that the API server would refuse the JobRun, so Admit took no key for it.
type InvalidError struct{ Err error }

func (e *InvalidError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with the JobRun.
func (e *InvalidError) Unwrap() error { return e.Err }

// admission is one trigger while Admit takes its keys.
type admission struct {
	*Store
	namespace string
	trigger   runkey.Trigger
	dryRun    bool
	valid     func() error
}

// Admit decides what becomes of a trigger, and takes its keys: first the concurrency key, then the
// idempotency key (P10). If Admit has taken the concurrency key and the trigger does not become a run, it
// gives the key back. A dry run takes no key.
//
// Admit calls valid before it takes a key, because a JobRun that the API server refuses later would hold its
// keys for the grace period. It does not call valid if it takes no key.
//
// Admit returns a *ConflictError, a *NameTakenError, an *InvalidError, or an error from a read or write of a
// key. If Admit cannot give a key back after an error, the controller releases it after the grace period.
func (s *Store) Admit(ctx context.Context, namespace string, t runkey.Trigger, dryRun bool, valid func() error) (Outcome, error) {
	t.Time.Time = s.clock.Now()
	a := admission{Store: s, namespace: namespace, trigger: t, dryRun: dryRun, valid: sync.OnceValue(valid)}
	if out, delivered, err := a.deliveredBefore(ctx, true); err != nil || delivered {
		return out, err
	}
	out, err := a.reserve(ctx)
	var conflict *ConflictError
	if errors.As(err, &conflict) {
		// If the cache did not show the idempotency key yet, this is a second delivery. It gets no conflict.
		if hit, delivered, lookupErr := a.deliveredBefore(ctx, false); lookupErr != nil || delivered {
			return hit, lookupErr
		}
	}
	var invalid *InvalidError
	if conflict == nil && err != nil && !errors.As(err, &invalid) {
		// The write may have succeeded although its answer was lost.
		return Outcome{}, errors.Join(err, a.giveBack(ctx))
	}
	if err != nil {
		return Outcome{}, err
	}
	return a.own(ctx, out)
}

func (a admission) named(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: a.namespace, Name: name}
}

func (a admission) concurrencyName() types.NamespacedName {
	return a.named(v1alpha1.ConcurrencyKeyName(a.trigger.JobName, a.trigger.ConcurrencyKey))
}

func (a admission) idempotencyName() types.NamespacedName {
	return a.named(v1alpha1.IdempotencyKeyName(a.trigger.JobName, a.trigger.IdempotencyKey))
}

// deliveredBefore reports whether an earlier trigger had the idempotencyKey. With trustAbsence, it returns
// false if the cache shows no key. A stale cache does no harm then, because own later finds the key taken.
func (a admission) deliveredBefore(ctx context.Context, trustAbsence bool) (Outcome, bool, error) {
	if a.trigger.IdempotencyKey == "" {
		return Outcome{}, false, nil
	}
	if trustAbsence {
		cached, err := a.Cached(ctx, a.idempotencyName())
		if err != nil || cached == nil {
			return Outcome{}, false, err
		}
	}
	key, err := a.liveIdempotencyKey(ctx)
	if err != nil || key == nil {
		return Outcome{}, false, err
	}
	answer := runkey.Own(&key.Spec, a.trigger, a.trigger.Run)
	if answer.Verdict != runkey.Delivered {
		return Outcome{}, false, nil
	}
	return deliveredTo(answer.Run, &key.Spec), true, nil
}

// reserve takes the concurrency key, if the trigger has one.
func (a admission) reserve(ctx context.Context) (Outcome, error) {
	created := Outcome{Disposition: v1alpha1.DispositionCreated, Run: a.trigger.Run}
	if a.trigger.ConcurrencyKey == "" {
		return created, nil
	}
	var since time.Time
	answer, version, err := a.take(ctx, a.concurrencyName(), a.liveConcurrencyKey, func(key *v1alpha1.RunKeySpec) runkey.Answer {
		answer := runkey.Reserve(key, a.trigger)
		since = waitingSince(key, answer.Run)
		return answer
	})
	if err != nil {
		return Outcome{}, err
	}
	switch answer.Verdict {
	case runkey.Reserved:
		return created, nil
	case runkey.Absorbed:
		return Outcome{Disposition: v1alpha1.DispositionCoalesced, Run: answer.Run, KeyVersion: version}, nil
	case runkey.Delivered:
		return deliveredTo(answer.Run, nil), nil
	case runkey.Refused:
		return Outcome{}, &ConflictError{
			Pending: answer.Run, JobName: a.trigger.JobName, Key: a.trigger.ConcurrencyKey, Since: since, Asked: a.trigger.Time.Time,
		}
	default:
		return Outcome{}, fmt.Errorf("no answer to verdict %d of RunKey %s", answer.Verdict, a.concurrencyName())
	}
}

// take computes a key's answer to the trigger, and stores the key if the answer changes it. It returns the
// version of the key that gave the answer. It tries the cached key first, then live reads. A cached key is never enough
// to coalesce or to refuse: its waiting run may have started since.
func (a admission) take(
	ctx context.Context, name types.NamespacedName, readLive func(context.Context) (*v1alpha1.RunKey, error),
	answerOf func(*v1alpha1.RunKeySpec) runkey.Answer,
) (answer runkey.Answer, version string, err error) {
	key, err := a.Cached(ctx, name)
	for live := false; err == nil; live = true {
		if live {
			if key, err = readLive(ctx); err != nil {
				break
			}
		}
		answer = answerOf(specOf(key))
		if !live && !a.optimistic(answer) {
			continue
		}
		switch answer.Verdict {
		case runkey.Reserved:
		case runkey.SameName:
			if err := checkName(ctx, a.named(a.trigger.Run.RunName), a.live); err != nil {
				return answer, "", err
			}
		default:
			return answer, key.ResourceVersion, nil
		}
		answer.Verdict = runkey.Reserved
		if err := a.store(ctx, name, key, answer.Next); !errors.Is(err, ErrChanged) {
			return answer, "", err
		}
	}
	return answer, "", err
}

// optimistic reports whether take may store an answer from the cache without a live read. It may if the answer
// changes the key, because the compare-and-swap then fails if the cache was stale. The cached row must be for
// the trigger's key, not for another key of the same hash.
func (a admission) optimistic(answer runkey.Answer) bool {
	t, next := a.trigger, answer.Next
	return answer.Verdict == runkey.Reserved && next != nil && !a.dryRun &&
		(runkey.Matches(next, v1alpha1.RunKeyConcurrency, t.JobName, t.ConcurrencyKey) ||
			runkey.Matches(next, v1alpha1.RunKeyIdempotency, t.JobName, t.IdempotencyKey))
}

// own takes the idempotency key, if the trigger has one, for the run that stands for the trigger so far. If
// the key is taken, the trigger was delivered before, and own gives its concurrency key back.
func (a admission) own(ctx context.Context, out Outcome) (Outcome, error) {
	if a.trigger.IdempotencyKey == "" || out.Disposition == v1alpha1.DispositionIdempotent {
		return out, nil
	}
	var taken *v1alpha1.RunKeySpec
	answer, _, err := a.take(ctx, a.idempotencyName(), a.liveIdempotencyKey, func(key *v1alpha1.RunKeySpec) runkey.Answer {
		taken = key
		return runkey.Own(key, a.trigger, out.Run)
	})
	if err == nil && answer.Verdict == runkey.Reserved {
		return out, nil
	}
	if out.Disposition == v1alpha1.DispositionCreated {
		if giveBack := a.giveBack(ctx); giveBack != nil {
			err = errors.Join(err, giveBack)
		}
	}
	return deliveredTo(answer.Run, taken), err
}

// giveBack takes the trigger's run out of its concurrency key. It has its own timeout, because the caller's
// deadline may have passed.
func (a admission) giveBack(ctx context.Context) error {
	if a.trigger.ConcurrencyKey == "" || a.dryRun {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
	defer cancel()
	for {
		key, err := a.liveConcurrencyKey(ctx)
		if err != nil {
			return err
		}
		next, ok := runkey.Withdraw(specOf(key), a.trigger.Run)
		if !ok {
			return nil
		}
		if _, err = a.CompareAndSwap(ctx, a.concurrencyName(), key, next); !errors.Is(err, ErrChanged) {
			return err
		}
	}
}

// store writes next, unless next is nil, the trigger is a dry run, or its JobRun is invalid.
func (a admission) store(ctx context.Context, name types.NamespacedName, key *v1alpha1.RunKey, next *v1alpha1.RunKeySpec) error {
	if next == nil || a.dryRun {
		return nil
	}
	if err := a.valid(); err != nil {
		return &InvalidError{err}
	}
	_, err := a.CompareAndSwap(ctx, name, key, next)
	return err
}

func (a admission) liveConcurrencyKey(ctx context.Context) (*v1alpha1.RunKey, error) {
	return a.liveKey(ctx, a.concurrencyName(), v1alpha1.RunKeyConcurrency, a.trigger.ConcurrencyKey)
}

func (a admission) liveIdempotencyKey(ctx context.Context) (*v1alpha1.RunKey, error) {
	return a.liveKey(ctx, a.idempotencyName(), v1alpha1.RunKeyIdempotency, a.trigger.IdempotencyKey)
}

func (a admission) liveKey(
	ctx context.Context, name types.NamespacedName, kind v1alpha1.RunKeyKind, value string,
) (*v1alpha1.RunKey, error) {
	key, err := a.Live(ctx, name)
	if err == nil && key != nil && !runkey.Matches(&key.Spec, kind, a.trigger.JobName, value) {
		return nil, fmt.Errorf("RunKey %s belongs to job %q, key %q: delete it if it was made by hand", name, key.Spec.JobName, key.Spec.Key)
	}
	return key, err
}

// waitingSince returns when a run got its place in a key, or the zero time if the key does not record it.
func waitingSince(key *v1alpha1.RunKeySpec, run runkey.Identity) time.Time {
	if key == nil {
		return time.Time{}
	}
	for _, entry := range []*v1alpha1.PendingRun{key.Pending, key.Line} {
		if entry != nil && entry.RunIdentity == run && entry.Time != nil {
			return entry.Time.Time
		}
	}
	return time.Time{}
}

func specOf(key *v1alpha1.RunKey) *v1alpha1.RunKeySpec {
	if key == nil {
		return nil
	}
	return &key.Spec
}
