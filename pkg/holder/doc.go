// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package holder lets a program hold the lease of a run: claim it, renew it, report progress, and end or give back the
// run. Each step is one request on jobruns/status, as docs/workers.md describes. Pure functions make the claim and the
// patches; Claim and Patch.Send send them.
//
//	claim := holder.ClaimOf(run, "worker-1", holder.Duration(run, 30*time.Second), clock.Now())
//	claimed, err := holder.Claim(ctx, api, clock, claim)
//	...
//	_, err = holder.Complete(claimed.LeaseGeneration(), output).Send(ctx, api, claimed)
//
// Package worker does all of this in the right order and in time. Use package holder for a holder that is not one
// process.
//
// # What the package does not promise
//
// It keeps no time. The caller must renew the lease, and must stop its work when it could not renew for the duration of
// the lease.
package holder
