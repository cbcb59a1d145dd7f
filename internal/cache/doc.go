// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cache says how the operator's cache of the API server is made: the
// fields by which it finds objects, and what it keeps of each object.
//
// It does not promise that what the cache shows is what is stored: a cache lags
// behind. What is slim must be read live before it is written or handed on.
package cache
