// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package events serves the events of runs as streams of server-sent events.
//
// A Hub follows all JobRuns with one watch. It derives the events by the Tracker of pkg/jobrun, encodes each event once,
// and keeps the latest in a history of bounded size. Streams have no buffers: a reader is a place in that history. A reader
// whose place has left the history is too slow, and its stream is cut. So slow clients cost no memory and slow no one.
//
// Who waits for the end of a single JobRun shares the watch, too: SharedWatches.
//
// # Resume
//
// The id of an event is a resourceVersion V: the stream has passed everything that happened up to V. Another gateway derives
// the same events from the same writes, so it can go on from V. It does so from its history, if that reaches back to V.
// Otherwise it lists the JobRuns as they were at V, which the API server can tell for some 5 minutes, and compares them with
// what they are now. If that is not possible either, the stream begins with the event reset.
//
// If one write shows several events, only the last one moves the id. While a progress is held back, the id stays before it.
//
// # What the package does not promise
//
// An event may come twice after a resume: the client got it, but not yet the id behind it. After a resume by comparison,
// events of a run that was created and deleted in between are missing, and so is progress that was replaced.
package events
