// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package simulation runs the production code of the webhook, the keystore and the controller over the model
// of the API server (internal/testing/model). Property tests draw the schedules. After every write, the judge
// (internal/testing/judge) checks the invariants I1 to I8 of docs/design.md.
//
// A calm simulation has one controller, no crashes and no lost calls. Caches lag, calls interleave in every
// order, Pods fail, Jobs and Pods are deleted, and users cancel and delete their triggers. Every invariant
// must hold at every instant.
//
// A stormy simulation may also have a second controller that acts at the same time, crashes after any write,
// lost requests and answers, writes that are applied long after their caller gave up, and creates of RunKeys
// whose answer has a wrong version. The invariants of RunKeys, receipts and counts must hold at every instant,
// and everything must come to rest. Statuses may lag, as section 11 of docs/design.md describes.
package simulation
