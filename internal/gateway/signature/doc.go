// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package signature tells whether a delivery to a receiver comes from who has the receiver's secret. It is pure: no client and no
// clock.
//
// All comparisons take the same time wherever two texts differ. A check computes the same hash over the same body whether the
// headers are right, wrong or missing, and for a receiver that does not exist, too (see Unknown).
//
// It does not promise that a delivery is new. GitHub and the type HMAC sign the body alone: who sees one delivery can send it again
// under another id.
package signature
