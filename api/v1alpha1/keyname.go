// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// hashLength is how much of the hash a RunKey's name carries: 160 bits.
const hashLength = 32

// What the name of a RunKey begins with says which kind it is.
const (
	concurrencyPrefix = "c-"
	idempotencyPrefix = "i-"
)

// ConcurrencyKeyName is the name of the RunKey of a concurrencyKey.
func ConcurrencyKeyName(jobName, concurrencyKey string) string {
	return concurrencyPrefix + keyHash(jobName, concurrencyKey)
}

// IdempotencyKeyName is the name of the RunKey of an idempotencyKey.
func IdempotencyKeyName(jobName, idempotencyKey string) string {
	return idempotencyPrefix + keyHash(jobName, idempotencyKey)
}

// RunKeyKindOf is the kind that a RunKey of that name has; empty if the name is
// not one of a RunKey.
func RunKeyKindOf(name string) RunKeyKind {
	switch {
	case strings.HasPrefix(name, concurrencyPrefix):
		return RunKeyConcurrency
	case strings.HasPrefix(name, idempotencyPrefix):
		return RunKeyIdempotency
	default:
		return ""
	}
}

func keyHash(jobName, key string) string {
	sum := sha256.Sum256([]byte(jobName + "\x00" + key))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])[:hashLength])
}
