// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chaos shows that the promises of JobRun hold while everything around it fails.
//
// A scenario runs the test control plane with several managers and workers. A crowd of callers triggers, cancels
// and deletes runs, while a plan of faults is injected. The plan also has stories, so that no scenario leaves it to chance
// whether it tests a promise. The scenario records two histories: every request with its answer, and every write that
// etcd stored. After the faults it waits until nothing is under way any more. Then it checks both histories for violations
// of the promises.
//
// A seed replays the plan of faults and the requests of each caller. It cannot replay how the processes interleave.
package chaos
