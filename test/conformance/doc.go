// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package conformance holds what a system of runs with a key must do, in
// Kubernetes' terms, as one table of behaviours. It is run through every surface
// that there is: the API itself and the Go client. Two controllers act at once
// all the time.
package conformance
