// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cli is `kubectl jobrun`, the kubectl plugin. Its user triggers runs, waits
// for them, retries and cancels them, and sees which runs use a key, without knowing
// RunKeys or admission fields.
//
// Each command has a file of its own, with its options: Complete, Validate and Run, as
// in kubectl (options.go). Results go to stdout. Progress, warnings and errors go to
// stderr. The exit codes are in exit.go.
//
// # What the package does not promise
//
// The texts on stderr and the tables are for people and may change. Scripts have
// the exit codes and -o json, yaml, name or jsonpath.
package cli
