// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package decoding reports objects that the operator cannot decode. One such object fails the list of its kind, and the
// cache then stays as it was: the operator sees no change of any object of that kind.
//
// The package does not promise to find the object. It looks for JobRuns only, because no other kind that the operator
// watches has untyped fields.
package decoding
