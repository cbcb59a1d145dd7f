// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package judge holds a history of what was stored against the invariants I1 to
// I8, whatever stored it: a model of the API server or etcd itself.
//
// It is told every write of one namespace, in the order of the revisions, and
// says at once what must never be; at rest it says what must be by then.
package judge
