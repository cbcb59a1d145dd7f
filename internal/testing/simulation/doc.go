// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package simulation runs the production code of the webhook, the index and the
// controller over the model of the API server, under schedules that a property
// test draws, and holds the invariants I1 to I8 of docs/design.md against
// everything that happens.
//
// Calm simulations have one controller and nothing is lost: caches lag, calls
// interleave in every order, Jobs and Pods are lost and deleted, triggers are
// cancelled and deleted. There every invariant holds at every instant. Stormy
// ones add a second controller that acts at once, crashes after any write, lost
// requests and answers, and writes that are applied long after their caller gave
// up. There the guarantees of RunKeys, receipts and counts hold, and everything
// comes to rest; what may lag then is what docs/design.md says may lag.
package simulation
