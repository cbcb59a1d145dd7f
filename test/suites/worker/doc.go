// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package worker tests pkg/worker and the kubectl plugin's commands for workers against a real API server. The
// operator runs in this process. Workers have only the rights that docs/workers.md gives them.
package worker
