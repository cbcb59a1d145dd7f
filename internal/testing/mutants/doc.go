// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mutants shows that the tests of the protocol can fail. It breaks the
// production code in one place at a time, once for each rule P1 to P12 and each
// invariant I1 to I8, and requires that the tests named for it notice.
//
// The working tree is not touched: the broken file reaches the compiler as an
// overlay.
package mutants
