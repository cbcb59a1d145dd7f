// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import (
	"cmp"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/ptr"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// roster is what this process has seen of the other replicas' Leases, by its own clock. It never compares a time in a Lease
// with that clock.
type roster struct {
	// others are the Leases of the other members, by name.
	others map[string]sighting
	// former is the Lease of the leader that versions without members elect, and leader the identity of its latest holder. With
	// --leader-elect, the leader is a member.
	former sighting
	leader string
	// levels are the levels of all members that were ever seen, by their identities. A leader may be a member that has gone.
	levels map[string]int
}

// sighting is the latest state of a Lease, and when this process first saw it.
type sighting struct {
	lease *coordinationv1.Lease
	since time.Time
}

// see returns the sighting of the present state of a Lease. The state changes with each renewal, and when the Lease is
// created anew.
func (s sighting) see(lease *coordinationv1.Lease, now time.Time) sighting {
	if s.lease != nil && s.lease.UID == lease.UID && renewalOf(s.lease).Equal(renewalOf(lease)) && holderOf(s.lease) == holderOf(lease) {
		return sighting{lease, s.since}
	}
	return sighting{lease, now}
}

// expires returns when a Lease has been unchanged for its duration.
func (s sighting) expires() time.Time {
	return s.since.Add(time.Duration(ptr.Deref(s.lease.Spec.LeaseDurationSeconds, 0)) * time.Second)
}

// note records the state of another member's Lease.
func (r *roster) note(lease *coordinationv1.Lease, now time.Time) {
	if r.others == nil {
		r.others, r.levels = map[string]sighting{}, map[string]int{}
	}
	r.levels[holderOf(lease)] = levelOf(lease)
	r.others[lease.Name] = r.others[lease.Name].see(lease, now)
}

// forget records that the Lease of another member is gone.
func (r *roster) forget(name string) { delete(r.others, name) }

// noteFormer records the state of the Lease for which leaders are elected. A Lease that was given back before this process
// began to look is no sign of a replica.
func (r *roster) noteFormer(lease *coordinationv1.Lease, now time.Time) {
	if r.former.lease == nil && holderOf(lease) == "" {
		return
	}
	r.former, r.leader = r.former.see(lease, now), cmp.Or(holderOf(lease), r.leader)
}

// live returns the other members in the order of their names.
func (r *roster) live(now time.Time) []*coordinationv1.Lease {
	var live []*coordinationv1.Lease
	for _, s := range r.others {
		if holderOf(s.lease) != "" && now.Before(s.expires()) {
			live = append(live, s.lease)
		}
	}
	slices.SortFunc(live, func(a, b *coordinationv1.Lease) int { return cmp.Compare(a.Name, b.Name) })
	return live
}

// sharers returns the names of the other members that share the homes out, in order.
func (r *roster) sharers(now time.Time) []string {
	var names []string
	for _, lease := range r.live(now) {
		if lease.Labels[v1alpha1.LabelMember] == sharing {
			names = append(names, lease.Name)
		}
	}
	return names
}

// nextExpiry returns when the next member's Lease expires unless it is renewed. ok is false if there are no other members.
func (r *roster) nextExpiry(now time.Time) (next time.Time, ok bool) {
	for _, s := range r.others {
		if at := s.expires(); now.Before(at) && (!ok || at.Before(next)) {
			next, ok = at, true
		}
	}
	return next, ok
}

// remaining returns the Leases of members, and of a leader, that died so long ago that they must be deleted.
func (r *roster) remaining(now time.Time) []*coordinationv1.Lease {
	var old []*coordinationv1.Lease
	for _, s := range r.others {
		if now.Sub(s.expires()) >= remains {
			old = append(old, s.lease)
		}
	}
	if s := r.former; s.lease != nil && holderOf(s.lease) != "" && now.Sub(s.expires()) >= remains {
		old = append(old, s.lease) // Otherwise each replica that starts would take its holder for alive.
	}
	return old
}

// leads reports whether a replica holds the Lease for which leaders are elected.
func (r *roster) leads(now time.Time) bool {
	return r.former.lease != nil && holderOf(r.former.lease) != "" && now.Before(r.former.expires())
}

// forgetFormer records that the Lease of the leader is gone.
func (r *roster) forgetFormer() { r.former, r.leader = sighting{}, "" }

// level returns the lowest protocol level of all replicas. own is the identity of this process.
func (r *roster) level(own string, now time.Time) int {
	level := ProtocolLevel
	for _, lease := range r.live(now) {
		level = min(level, levelOf(lease))
	}
	if r.former.lease == nil || now.Sub(r.former.since) >= formerPatience || r.leader == own {
		return level
	}
	if led, isMember := r.levels[r.leader]; isMember {
		return min(level, led)
	}
	return formerLevel
}

func holderOf(lease *coordinationv1.Lease) string { return ptr.Deref(lease.Spec.HolderIdentity, "") }

// renewalOf returns the renewTime of a Lease; zero without one.
func renewalOf(lease *coordinationv1.Lease) time.Time {
	if lease.Spec.RenewTime == nil {
		return time.Time{}
	}
	return lease.Spec.RenewTime.Time
}
