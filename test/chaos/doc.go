// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chaos shows that the promises of JobRun hold while everything around it
// fails. It runs the control plane of this repository with several managers and
// workers, has a crowd of callers trigger, cancel and delete runs, injects faults
// by a plan that its seed decides, and records two histories: every request with
// its answer, and every write that etcd stored. When the faults are over it waits
// until all is quiet, and holds both histories against the promises.
//
// A seed replays the plan and what each caller does, not the interleaving of the
// processes: that is the machine's own.
package chaos
