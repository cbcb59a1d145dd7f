package v1alpha1

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// hashLength is how much of the hash a RunKey's name carries: 160 bits.
const hashLength = 32

// ConcurrencyKeyName is the name of the RunKey of a concurrencyKey.
func ConcurrencyKeyName(jobName, concurrencyKey string) string {
	return "c-" + keyHash(jobName, concurrencyKey)
}

// IdempotencyKeyName is the name of the RunKey of an idempotencyKey.
func IdempotencyKeyName(jobName, idempotencyKey string) string {
	return "i-" + keyHash(jobName, idempotencyKey)
}

func keyHash(jobName, key string) string {
	sum := sha256.Sum256([]byte(jobName + "\x00" + key))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])[:hashLength])
}
