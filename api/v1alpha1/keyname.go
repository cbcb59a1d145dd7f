// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// hashLength is the number of base32 characters of the hash in the name of a RunKey: 160 bits.
const hashLength = 32

// The name of a RunKey begins with the prefix of its kind.
const (
	concurrencyPrefix = "c-"
	idempotencyPrefix = "i-"
)

// ConcurrencyKeyName returns the name of the RunKey of a concurrencyKey.
func ConcurrencyKeyName(jobName, concurrencyKey string) string {
	return concurrencyPrefix + keyHash(jobName, concurrencyKey)
}

// IdempotencyKeyName returns the name of the RunKey of an idempotencyKey.
func IdempotencyKeyName(jobName, idempotencyKey string) string {
	return idempotencyPrefix + keyHash(jobName, idempotencyKey)
}

// RunKeyKindOf returns the kind of the RunKey with this name. It is empty if a RunKey cannot have the name.
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
