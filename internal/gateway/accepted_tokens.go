// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
)

const (
	// acceptedTTL is how long a token that was accepted is known.
	acceptedTTL = time.Hour
	// maxAccepted bounds the known tokens. They take some 3 MiB. The one that was not used for the longest time is forgotten.
	maxAccepted = 16384
)

// acceptedTokens knows which tokens were accepted lately. It gives no right: each token is reviewed all the same. It keeps
// no token, but a hash with a key of this process.
type acceptedTokens struct {
	key    []byte
	hashes *cache.LRUExpireCache
}

func newAcceptedTokens() (*acceptedTokens, error) {
	key := make([]byte, sha256.Size)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make a key for the hashes of tokens: %w", err)
	}
	return &acceptedTokens{key: key, hashes: cache.NewLRUExpireCache(maxAccepted)}, nil
}

// has reports whether a token was accepted lately.
func (a *acceptedTokens) has(token string) bool {
	_, known := a.hashes.Get(a.hash(token))
	return known
}

// note remembers that a token was accepted, or forgets one that was not.
func (a *acceptedTokens) note(token string, accepted bool) {
	if !accepted {
		a.hashes.Remove(a.hash(token))
		return
	}
	a.hashes.Add(a.hash(token), nil, acceptedTTL)
}

func (a *acceptedTokens) hash(token string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, a.key)
	mac.Write([]byte(token))
	return [sha256.Size]byte(mac.Sum(nil))
}
