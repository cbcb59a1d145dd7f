// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cache configures the operator's cache of the API server: the indexes that find objects, and what
// the cache keeps of each object. It also has the live reads of what the cache does not show.
//
// A cache lags behind the API server. A slim object must be read live before it is written or handed on.
package cache
