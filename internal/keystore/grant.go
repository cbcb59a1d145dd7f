// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// NotGrantedError says why a run cannot be leased now.
type NotGrantedError struct {
	Run    runkey.Identity
	Leased runkey.Identity
	// Want is the generation that the claim must have; 0 if no generation can lease the run now.
	Want int64
	// Job is a Job of an earlier lease that still executes; empty if there is none.
	Job string
}

func (e *NotGrantedError) Error() string {
	switch {
	case e.Job != "":
		return fmt.Sprintf("Job %s still executes for the key: try again", e.Job)
	case e.Want > 0:
		return fmt.Sprintf("the lease of run %s has generation %d: read the run again", e.Run.RunName, e.Want)
	case e.Leased != runkey.Identity{}:
		return fmt.Sprintf("run %s executes for the key of run %s", e.Leased.RunName, e.Run.RunName)
	default:
		return fmt.Sprintf("run %s is not the one that waits for its key", e.Run.RunName)
	}
}

// Grant leases the waiting run of a key to an external worker. It returns the version of the key that the
// lease is based on. The caller has read run live. A dry run changes nothing. Grant reads the Jobs live that may still
// appear according to the version of the key that it replaces (P6).
//
// Grant returns a *NotGrantedError, or an error of reading or writing the key. After a failed write the key
// may still lease the run. The next claim then takes that grant over.
func (s *Store) Grant(ctx context.Context, run *v1alpha1.JobRun, generation int64, dryRun bool) (string, error) {
	name := types.NamespacedName{Namespace: run.Namespace, Name: runkey.Home(run)}
	if cached, err := s.Cached(ctx, name); err == nil && cached != nil && !dryRun {
		version, err := s.grant(ctx, cached, run, generation, dryRun)
		var notGranted *NotGrantedError
		if !errors.Is(err, ErrChanged) && !errors.As(err, &notGranted) { // Otherwise the cache may be late.
			return version, err
		}
	}
	for {
		key, err := s.Live(ctx, name)
		if err != nil {
			return "", err
		}
		if version, err := s.grant(ctx, key, run, generation, dryRun); !errors.Is(err, ErrChanged) {
			return version, err
		}
	}
}

// grant leases the waiting run of a key by one compare-and-swap. ErrChanged means that another version than key is stored.
func (s *Store) grant(ctx context.Context, key *v1alpha1.RunKey, run *v1alpha1.JobRun, generation int64, dryRun bool) (string, error) {
	var version string
	if key != nil {
		version = key.ResourceVersion
	}
	next, ok := runkey.Grant(specOf(key), version, run)
	switch {
	case !ok || !runkey.Matches(next, v1alpha1.RunKeyConcurrency, run.Spec.JobName, run.Spec.ConcurrencyKey):
		return "", &NotGrantedError{Run: runkey.IdentityOf(run), Leased: runkey.Leased(specOf(key))}
	case next.Leased.Generation != generation:
		return "", &NotGrantedError{Run: runkey.IdentityOf(run), Want: next.Leased.Generation}
	}
	unfinished, err := s.Unfinished(ctx, run.Namespace, runkey.Unconfirmed(next))
	switch {
	case err != nil:
		return "", err
	case len(unfinished) > 0:
		return "", &NotGrantedError{Run: runkey.IdentityOf(run), Job: unfinished[0].Name}
	case dryRun:
		return version, nil
	}
	_, err = s.CompareAndSwap(ctx, types.NamespacedName{Namespace: run.Namespace, Name: runkey.Home(run)}, key, next)
	return version, err
}
