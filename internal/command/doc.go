// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package command executes a program for a run. The program reads its input from stdin and
// writes its output to stdout. It has a process group of its own, which ends with it.
//
// # What the package does not promise
//
// A process that leaves the group (setsid, a daemon) is not stopped. If this process is
// killed, Linux kills the program but not its children; other systems kill neither.
// Windows has neither process groups nor SIGTERM: there the program alone is stopped, at
// once.
package command
