// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package api tests the CustomResourceDefinitions on a real API server: what they accept, what they refuse and with
// which message, and what kubectl shows of them.
package api
