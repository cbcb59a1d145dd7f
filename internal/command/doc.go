// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package command executes a program for a run: the input on stdin, the output from
// stdout, in a process group of its own that ends with it.
//
// # What the package does not promise
//
// A process that leaves the group (setsid, a daemon) is not found and not ended. If
// this process is killed, the program is killed on Linux, its children are not;
// elsewhere it goes on. Windows has neither process groups nor SIGTERM: there the
// program alone is ended, at once.
package command
