// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package client tests pkg/jobrun against a real API server with the operator's
// webhook and controller, over restarts of the server and lost connections.
package client
