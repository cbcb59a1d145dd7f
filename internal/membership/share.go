// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import (
	"hash/fnv"
	"slices"
)

// Home names what a member owns: a RunKey or a run.
type Home struct {
	Namespace string
	// Name is the name of a RunKey, or runkey.RunHome.
	Name string
}

// share is the part of the homes that one member owns.
type share struct {
	self string
	// members are the names of the members in order. Without self, this process owns nothing.
	members []string
}

// in reports whether this process is a member.
func (s share) in() bool {
	_, found := slices.BinarySearch(s.members, s.self)
	return found
}

// owns reports whether this process owns a home.
func (s share) owns(home Home) bool { return s.in() && Owner(s.members, home) == s.self }

// gainsFrom reports whether this process owns homes now that it may not have owned before: it became a member, or another
// member left.
func (s share) gainsFrom(before share) bool {
	if !s.in() || !before.in() {
		return s.in()
	}
	return slices.ContainsFunc(before.members, func(member string) bool {
		_, stays := slices.BinarySearch(s.members, member)
		return !stays
	})
}

// Owner returns which of the members owns a home, by rendezvous hashing; empty without members. Members are named by their
// Leases, in order. All replicas of all versions must compute the same owner.
func Owner(members []string, home Home) string {
	best, highest := "", uint64(0)
	hashed := hash(home.Namespace, home.Name)
	for _, member := range members {
		if score := mix(hashed ^ mix(hash(member))); best == "" || score > highest {
			best, highest = member, score
		}
	}
	return best
}

// hash returns the 64-bit FNV-1a hash of texts, with a zero byte after each.
func hash(texts ...string) uint64 {
	h := fnv.New64a()
	for _, text := range texts {
		_, _ = h.Write([]byte(text)) // It never fails.
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// mix spreads a hash over all its bits (the last step of MurmurHash3). FNV alone changes few bits between similar names.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
