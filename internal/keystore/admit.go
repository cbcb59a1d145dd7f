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

// giveBackTimeout fits between the deadline of an admission and the API server's.
const giveBackTimeout = 1500 * time.Millisecond

// Outcome is what became of a trigger.
type Outcome struct {
	Disposition v1alpha1.Disposition
	// Run stands for the trigger.
	Run runkey.Identity
	// KeyVersion is the version of the key that showed Run waiting; Coalesced only.
	KeyVersion string
}

// ConflictError says that a run waits for the trigger's key and that the
// trigger did not ask to coalesce.
type ConflictError struct {
	Pending runkey.Identity
	JobName string
	Key     string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("run %s is pending for job %q, concurrencyKey %q", e.Pending.RunName, e.JobName, e.Key)
}

// InvalidError says that a trigger would be refused for what it is, so that
// nothing was taken for it.
type InvalidError struct{ Err error }

func (e *InvalidError) Error() string { return e.Err.Error() }

// Unwrap is what is wrong with the trigger.
func (e *InvalidError) Unwrap() error { return e.Err }

// admission is one trigger on its way through the keys.
type admission struct {
	*Store
	namespace string
	trigger   runkey.Trigger
	dryRun    bool
	valid     func() error
}

// Admit finds out what becomes of a trigger and takes what it needs: first the
// concurrency key, then the idempotency key. A trigger that ends without its
// own run has given back what it took. A dry run takes nothing.
//
// Before anything is taken, valid is asked what is wrong with the trigger: for
// one that is refused later it would be held for the grace period. A trigger for
// which nothing is taken is judged by the API server alone.
//
// Errors: *ConflictError, *NameTakenError, *InvalidError, or that a key could not
// be read or written; what was reserved by then is released after the grace
// period if it could not be given back at once.
func (s *Store) Admit(ctx context.Context, namespace string, t runkey.Trigger, dryRun bool, valid func() error) (Outcome, error) {
	t.Time.Time = s.clock.Now()
	a := admission{Store: s, namespace: namespace, trigger: t, dryRun: dryRun, valid: sync.OnceValue(valid)}
	if out, delivered, err := a.deliveredBefore(ctx, true); err != nil || delivered {
		return out, err
	}
	out, err := a.reserve(ctx)
	var conflict *ConflictError
	if errors.As(err, &conflict) {
		// A cache that lags must not turn a second delivery into a refusal.
		if hit, delivered, lookupErr := a.deliveredBefore(ctx, false); lookupErr != nil || delivered {
			return hit, lookupErr
		}
	}
	var invalid *InvalidError
	if conflict == nil && err != nil && !errors.As(err, &invalid) {
		// The answer to a write may have been lost: leave nothing taken.
		return Outcome{}, errors.Join(err, a.giveBack(ctx))
	}
	if err != nil {
		return Outcome{}, err
	}
	return a.own(ctx, out)
}

func (a admission) runName() types.NamespacedName {
	return types.NamespacedName{Namespace: a.namespace, Name: a.trigger.Run.RunName}
}

func (a admission) concurrencyName() types.NamespacedName {
	return types.NamespacedName{
		Namespace: a.namespace,
		Name:      v1alpha1.ConcurrencyKeyName(a.trigger.JobName, a.trigger.ConcurrencyKey),
	}
}

func (a admission) idempotencyName() types.NamespacedName {
	return types.NamespacedName{
		Namespace: a.namespace,
		Name:      v1alpha1.IdempotencyKeyName(a.trigger.JobName, a.trigger.IdempotencyKey),
	}
}

// deliveredBefore looks at the idempotency key. trustAbsence lets a cache that
// shows no key answer no: whoever reserves the key finds out.
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
	return Outcome{Disposition: v1alpha1.DispositionIdempotent, Run: answer.Run}, true, nil
}

// reserve takes the concurrency key, if the trigger has one: first with what
// the cache says, then with live reads. A cached key is never enough to
// coalesce or to refuse: its waiting run may have started since.
func (a admission) reserve(ctx context.Context) (Outcome, error) {
	created := Outcome{Disposition: v1alpha1.DispositionCreated, Run: a.trigger.Run}
	if a.trigger.ConcurrencyKey == "" {
		return created, nil
	}
	key, err := a.Cached(ctx, a.concurrencyName())
	if err != nil {
		return Outcome{}, err
	}
	for live := false; ; live = true {
		if live {
			if key, err = a.liveConcurrencyKey(ctx); err != nil {
				return Outcome{}, err
			}
		}
		answer := runkey.Reserve(specOf(key), a.trigger)
		if !live && !a.optimistic(answer) {
			continue
		}
		switch answer.Verdict {
		case runkey.Reserved:
		case runkey.Refused:
			return Outcome{}, &ConflictError{Pending: answer.Run, JobName: a.trigger.JobName, Key: a.trigger.ConcurrencyKey}
		case runkey.Absorbed:
			return Outcome{Disposition: v1alpha1.DispositionCoalesced, Run: answer.Run, KeyVersion: key.ResourceVersion}, nil
		case runkey.Delivered:
			return Outcome{Disposition: v1alpha1.DispositionIdempotent, Run: answer.Run}, nil
		case runkey.SameName:
			if err := checkName(ctx, a.runName(), a.live); err != nil {
				return Outcome{}, err
			}
		default:
			return Outcome{}, fmt.Errorf("no answer to verdict %d of RunKey %s", answer.Verdict, a.concurrencyName())
		}
		err := a.store(ctx, a.concurrencyName(), key, answer.Next)
		if !errors.Is(err, ErrChanged) {
			return created, err
		}
	}
}

// optimistic reports whether an answer from the cache is good enough to act on:
// only if storing it proves that the cache was right, and the key is the
// trigger's own and no other of the same hash.
func (a admission) optimistic(answer runkey.Answer) bool {
	t, next := a.trigger, answer.Next
	return answer.Verdict == runkey.Reserved && next != nil && !a.dryRun &&
		(runkey.Matches(next, v1alpha1.RunKeyConcurrency, t.JobName, t.ConcurrencyKey) ||
			runkey.Matches(next, v1alpha1.RunKeyIdempotency, t.JobName, t.IdempotencyKey))
}

// own takes the idempotency key, if the trigger has one, for the run that
// stands for the trigger so far. A trigger that finds the key taken was
// delivered before, and gives its concurrency key back.
func (a admission) own(ctx context.Context, out Outcome) (Outcome, error) {
	if a.trigger.IdempotencyKey == "" || out.Disposition == v1alpha1.DispositionIdempotent {
		return out, nil
	}
	answer, err := a.ownKey(ctx, out.Run)
	if err == nil && answer.Verdict == runkey.Reserved {
		return out, nil
	}
	if out.Disposition == v1alpha1.DispositionCreated {
		if giveBack := a.giveBack(ctx); giveBack != nil {
			err = errors.Join(err, giveBack)
		}
	}
	return Outcome{Disposition: v1alpha1.DispositionIdempotent, Run: answer.Run}, err
}

func (a admission) ownKey(ctx context.Context, owner runkey.Identity) (runkey.Answer, error) {
	key, err := a.Cached(ctx, a.idempotencyName())
	if err != nil {
		return runkey.Answer{}, err
	}
	for live := false; ; live = true {
		if live {
			if key, err = a.liveIdempotencyKey(ctx); err != nil {
				return runkey.Answer{}, err
			}
		}
		answer := runkey.Own(specOf(key), a.trigger, owner)
		if !live && !a.optimistic(answer) {
			continue
		}
		switch answer.Verdict {
		case runkey.Delivered:
			return answer, nil
		case runkey.SameName:
			if err := checkName(ctx, a.runName(), a.live); err != nil {
				return runkey.Answer{}, err
			}
		}
		answer.Verdict = runkey.Reserved
		err := a.store(ctx, a.idempotencyName(), key, answer.Next)
		if !errors.Is(err, ErrChanged) {
			return answer, err
		}
	}
}

// giveBack leaves the concurrency key to others again. It has a little time of
// its own, for it is called when the caller's has run out, too.
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

// store writes next, if there is anything to write, this is no dry run and the
// trigger is valid.
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

func specOf(key *v1alpha1.RunKey) *v1alpha1.RunKeySpec {
	if key == nil {
		return nil
	}
	return &key.Spec
}
