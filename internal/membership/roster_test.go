// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import (
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var start = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// lease returns a Lease of a member that was renewed at a time of that member's own clock.
func lease(name string, renewed time.Time) *coordinationv1.Lease {
	l := newLease("jobrun-system", name, "host_"+name, sharing, renewed)
	l.UID = types.UID("uid of " + name)
	return l
}

func TestAMemberCountsUntilItsLeaseStandsStill(t *testing.T) {
	years := 24 * 365 * time.Hour // The clocks of other machines may show any time.
	for name, tc := range map[string]struct {
		see  func(r *roster)
		now  time.Time
		live bool
	}{
		"it was just seen":                   {func(r *roster) { r.note(lease("a", at(0).Add(-years)), at(0)) }, at(4.9), true},
		"it was seen for its duration":       {func(r *roster) { r.note(lease("a", at(0).Add(years)), at(0)) }, at(5), false},
		"it was renewed since":               {func(r *roster) { r.note(lease("a", at(0)), at(0)); r.note(lease("a", at(0.1)), at(3)) }, at(7.9), true},
		"it was seen again without renewal":  {func(r *roster) { r.note(lease("a", at(0)), at(0)); r.note(lease("a", at(0)), at(3)) }, at(5), false},
		"it is gone":                         {func(r *roster) { r.note(lease("a", at(0)), at(0)); r.forget("a") }, at(1), false},
		"it is back":                         {func(r *roster) { r.note(lease("a", at(0)), at(0)); r.forget("a"); r.note(lease("a", at(0)), at(8)) }, at(9), true},
		"its renewal was set back, and seen": {func(r *roster) { r.note(lease("a", at(9)), at(0)); r.note(lease("a", at(1)), at(3)) }, at(7), true},
		"nobody holds it": {func(r *roster) {
			l := lease("a", at(0))
			l.Spec.HolderIdentity = nil
			r.note(l, at(0))
		}, at(1), false},
	} {
		t.Run(name, func(t *testing.T) {
			var r roster
			tc.see(&r)
			if got := len(r.sharers(tc.now)) > 0; got != tc.live {
				t.Errorf("live: %v", got)
			}
		})
	}
}

func TestTheNextExpiryIsKnown(t *testing.T) {
	var r roster
	if _, ok := r.nextExpiry(at(0)); ok {
		t.Error("without members")
	}
	r.note(lease("a", at(0)), at(0))
	r.note(lease("b", at(1)), at(1))
	for _, tc := range []struct{ now, want time.Time }{{at(1), at(5)}, {at(5), at(6)}} {
		if next, ok := r.nextExpiry(tc.now); !ok || !next.Equal(tc.want) {
			t.Errorf("at %s: %s", tc.now, next)
		}
	}
	if _, ok := r.nextExpiry(at(6)); ok {
		t.Error("all have expired")
	}
}

func TestDeadMembersAreBuriedAfterAWhile(t *testing.T) {
	var r roster
	r.note(lease("a", at(0)), at(0))
	if old := r.remaining(at(64.9)); len(old) > 0 {
		t.Error("too early")
	}
	if old := r.remaining(at(65)); len(old) != 1 || old[0].Name != "a" {
		t.Errorf("remaining: %v", old)
	}
}

// A leader that died keeps its Lease. Each replica that starts would take it for alive.
func TestDeadLeadersAreBuriedAfterAWhile(t *testing.T) {
	var r roster
	r.noteFormer(lease("leader", at(0)), at(0))
	if old := r.remaining(at(64.9)); len(old) > 0 {
		t.Error("too early")
	}
	if old := r.remaining(at(65)); len(old) != 1 || old[0].Name != "leader" {
		t.Errorf("remaining: %v", old)
	}
	r.forgetFormer()
	if old := r.remaining(at(65)); len(old) > 0 || r.level("own", at(65)) != ProtocolLevel {
		t.Error("its Lease is gone")
	}
}

func TestMembersThatElectOwnNoHomes(t *testing.T) {
	var r roster
	r.note(lease("b", at(0)), at(0))
	r.note(lease("a", at(0)), at(0))
	elects := lease("c", at(0))
	elects.Labels[v1alpha1.LabelMember] = electing
	r.note(elects, at(0))
	if got := r.sharers(at(1)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("members: %v", got)
	}
}

func TestLevel(t *testing.T) {
	leader := func(holder string, renewed float64) *coordinationv1.Lease {
		l := lease("jobrun-controller-manager", at(renewed))
		l.Spec.HolderIdentity = &holder
		return l
	}
	old := func(kind, level string) *coordinationv1.Lease {
		l := lease("a", at(0))
		l.Labels[v1alpha1.LabelMember], l.Annotations[v1alpha1.AnnotationProtocolLevel] = kind, level
		return l
	}
	for name, tc := range map[string]struct {
		see  func(r *roster)
		now  time.Time
		want int
	}{
		"alone":                         {func(*roster) {}, at(0), ProtocolLevel},
		"all members have the level":    {func(r *roster) { r.note(lease("a", at(0)), at(0)) }, at(1), ProtocolLevel},
		"a member of a lower level":     {func(r *roster) { r.note(old(sharing, "1"), at(0)) }, at(1), 1},
		"it elects":                     {func(r *roster) { r.note(old(electing, "1"), at(0)) }, at(1), 1},
		"a member that knows no memory": {func(r *roster) { r.note(old(sharing, "2"), at(0)) }, at(1), NotesLevel},
		"one without definitions":       {func(r *roster) { r.note(old(sharing, "3"), at(0)) }, at(1), MemoryLevel},
		"a member without a level":      {func(r *roster) { r.note(old(sharing, ""), at(0)) }, at(1), 1},
		"it is dead":                    {func(r *roster) { r.note(old(sharing, "1"), at(0)) }, at(5), ProtocolLevel},
		"a member of a higher level":    {func(r *roster) { r.note(old(sharing, "99"), at(0)) }, at(1), ProtocolLevel},
		"a former version leads":        {func(r *roster) { r.noteFormer(leader("old", 0), at(0)) }, at(29), 1},
		"it does not renew":             {func(r *roster) { r.noteFormer(leader("old", 0), at(0)) }, at(30), ProtocolLevel},
		"it goes on":                    {func(r *roster) { r.noteFormer(leader("old", 0), at(0)); r.noteFormer(leader("old", 2), at(2)) }, at(31), 1},
		"it gave the Lease back":        {func(r *roster) { r.noteFormer(leader("old", 0), at(0)); r.noteFormer(leader("", 2), at(2)) }, at(31), 1},
		"it gave it back long ago":      {func(r *roster) { r.noteFormer(leader("", 0), at(0)) }, at(1), ProtocolLevel},
		"this process leads":            {func(r *roster) { r.noteFormer(leader("host_self", 0), at(0)) }, at(1), ProtocolLevel},
		"a member leads":                {func(r *roster) { r.note(lease("a", at(0)), at(0)); r.noteFormer(leader("host_a", 0), at(0)) }, at(1), ProtocolLevel},
		"a member led and died":         {func(r *roster) { r.note(lease("a", at(0)), at(0)); r.noteFormer(leader("host_a", 0), at(0)) }, at(6), ProtocolLevel},
		"an older member led and died":  {func(r *roster) { r.note(old(sharing, "2"), at(0)); r.noteFormer(leader("host_a", 0), at(0)) }, at(6), NotesLevel},
		"a member that led has left": {func(r *roster) {
			r.note(lease("a", at(0)), at(0))
			r.noteFormer(leader("host_a", 0), at(0))
			r.noteFormer(leader("", 2), at(2))
			r.forget("a")
		}, at(3), ProtocolLevel},
		"its Lease is shown later":     {func(r *roster) { r.noteFormer(leader("host_a", 0), at(0)); r.note(lease("a", at(0)), at(0)) }, at(1), ProtocolLevel},
		"a member took over from that": {func(r *roster) { r.noteFormer(leader("old", 0), at(0)); r.noteFormer(leader("host_self", 2), at(2)) }, at(3), ProtocolLevel},
	} {
		t.Run(name, func(t *testing.T) {
			var r roster
			tc.see(&r)
			if got := r.level("host_self", tc.now); got != tc.want {
				t.Errorf("level %d", got)
			}
		})
	}
}

func TestAQueueThatDoesNotMove(t *testing.T) {
	for name, tc := range map[string]struct {
		do  func(p *pulse)
		now time.Time
		ok  bool
	}{
		"nothing to do":                   {func(*pulse) {}, at(1000), true},
		"a reconcile is under way":        {func(p *pulse) { p.begin(at(0)) }, at(29), true},
		"none has ended":                  {func(p *pulse) { p.begin(at(0)) }, at(30), false},
		"the first one after a long rest": {func(p *pulse) { p.begin(at(0))(at(1)); p.begin(at(100)) }, at(129), true},
		"others end":                      {func(p *pulse) { p.begin(at(0)); p.begin(at(10))(at(20)) }, at(49), true},
		"the others have stopped":         {func(p *pulse) { p.begin(at(0)); p.begin(at(10))(at(20)) }, at(50), false},
		"one hangs though others end":     {func(p *pulse) { p.begin(at(0)); p.begin(at(298))(at(299)) }, at(300), false},
		"all have ended":                  {func(p *pulse) { p.begin(at(0))(at(400)) }, at(1000), true},
	} {
		t.Run(name, func(t *testing.T) {
			var p pulse
			tc.do(&p)
			if err := p.check(tc.now); (err == nil) != tc.ok {
				t.Errorf("error: %v", err)
			}
		})
	}
}
