// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package schedule says when a schedule of a JobDefinition fires, and how the JobRun of each time is named. It is pure: it
// has no clock, and all times are arguments.
//
// The expressions are parsed by github.com/robfig/cron, as those of CronJobs. The times are computed here, because that
// library computes only the next time, fires twice when clocks go back, and misses times on days with a change of half an
// hour. The work of each call is bounded, however long ago the last time was.
//
// The package does not promise that a time fires: see internal/decision/definition.go.
package schedule
