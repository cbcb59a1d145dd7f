// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package executor holds what there is to know of the Jobs that execute runs:
// how the Job of a run is made, which run and generation a Job executes, whether
// it has finished, and what its Pods put out.
//
// It is pure: Jobs and Pods come in as values, and the caller does the I/O. It
// does not promise that a Job which names a run was made by the operator: labels
// and annotations may be anybody's, see ExecutesRun.
package executor
