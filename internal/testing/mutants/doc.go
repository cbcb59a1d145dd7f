// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mutants shows that the tests of the protocol can fail. Each mutant breaks the production code in one
// place. There is at least one for each rule P1 to P14 and each invariant I1 to I8, and the tests that are named
// for it must fail.
//
// The working tree stays as it is: the compiler gets the broken files as an overlay. The mutants of one package share a test
// binary, in which the environment variable JOBRUN_MUTANT switches one of them on.
package mutants
