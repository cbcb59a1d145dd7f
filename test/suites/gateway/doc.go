// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gateway tests the gateway on a real API server, with the operator in the process of the test. The gateway has the
// rights of config/gateway, and its callers have tokens of ServiceAccounts. The specs play workers.
package gateway
