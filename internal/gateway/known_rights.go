// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
)

const (
	// rightsTTL is how long a right of a caller is believed without a look at the authorizer's own memory, which takes as long
	// as the rest of a trigger: its questions are texts.
	rightsTTL = time.Second
	// maxKnownRights bounds the rights in memory. They take some 4 MiB.
	maxKnownRights = 8192
)

// knownRights are rights that callers were found to have a moment ago. It does not compare what it knows of two callers: the
// authenticator returns the same object for a token as long as it believes its answer.
type knownRights struct{ of *cache.LRUExpireCache }

type knownRight struct {
	caller *user.DefaultInfo
	right  right
}

func newKnownRights(clock clock.Clock) knownRights {
	return knownRights{cache.NewLRUExpireCacheWithClock(maxKnownRights, clock)}
}

// has reports whether the caller had the right a moment ago.
func (k knownRights) has(caller user.Info, needed right) bool {
	known, ok := caller.(*user.DefaultInfo)
	if !ok {
		return false
	}
	_, ok = k.of.Get(knownRight{known, needed})
	return ok
}

// add remembers that the caller had a right when the authorizer was asked, so long ago.
func (k knownRights) add(caller user.Info, needed right, ago time.Duration) {
	if known, ok := caller.(*user.DefaultInfo); ok && ago < rightsTTL {
		k.of.Add(knownRight{known, needed}, nil, rightsTTL-ago)
	}
}
