// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package worker tests pkg/worker against a real API server, with the operator
// in this process, and with no more rights than docs/workers.md gives a worker.
package worker
