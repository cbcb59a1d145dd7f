// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cli is `kubectl jobrun`, the kubectl plugin: a person at a terminal, or
// a script, triggers runs, waits for them, retries and cancels them and sees what
// holds a key, without knowing of RunKeys, receipts or admission fields.
//
// Each command has a file of its own, which reads, decides and writes in that
// order. Results go to stdout; everything that is said beside them, progress,
// warnings and errors, goes to stderr. The exit codes are in exit.go.
//
// # What the package does not promise
//
// The words on stderr and the tables are for people and may change. Scripts have
// the exit codes and -o json, yaml, name or jsonpath.
package cli
