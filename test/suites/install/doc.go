// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package install tests the manifests in config/: that every name in them exists, and what they do on a real API server.
package install
