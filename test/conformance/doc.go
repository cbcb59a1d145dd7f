// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package conformance has tables of the behaviours of runs with a key and of defined jobs. It checks each behaviour through
// every surface: the API itself and the Go client. Two controllers act at the same time during all specs. The API server's store
// is etcd, or kine if the environment variable STORE says so.
package conformance
