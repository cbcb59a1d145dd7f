// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package upgrade tests an upgrade from an older commit of the repository, a rollback to it, and another upgrade, while callers
// trigger, Jobs and workers execute, and keys are busy.
//
// The older version is built from its own sources, which come from the history of git. Its manifests, its managers and its workers
// are those of that commit. The steps are those of "Upgrade and rollback" in docs/operations.md.
package upgrade
