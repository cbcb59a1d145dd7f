// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package streams tests the gateway's streams of events against a real API server: with curl, with an EventSource from npm,
// and while gateways are lost.
package streams
