// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package executor knows the Jobs that execute runs: it builds the Job of a run, and tells which run and
// generation a Job executes, whether the Job has finished, and what its Pods put out.
//
// The package is pure: callers pass Jobs and Pods as values. Any client can create a Job with the operator's
// labels and annotations, so a Job that names a run need not execute it: see ExecutesRun.
package executor
