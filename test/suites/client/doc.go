// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package client tests pkg/jobrun against a real API server with the operator's webhook and controller. The specs
// restart the server and cut connections.
package client
