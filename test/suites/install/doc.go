// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package install tests what config/ builds: that what it names exists, and what it does on a real API server.
package install
