// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package judge checks a history of writes for violations of the invariants I1 to I8 of docs/design.md. The
// writes may come from a model of the API server or from etcd.
//
// A Judge observes every write of one namespace in the order of the revisions, and reports at once each state
// that must never exist. Once nothing changes any more, Judge.AtRest checks what must hold by then.
package judge
