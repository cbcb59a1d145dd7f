// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var parsedNow = time.Date(2026, time.January, 2, 3, 4, 0, 0, time.UTC)

// wantName was computed with Python: base64.b32encode(hashlib.sha256(b"sync-users\0nightly\0" + minutes).digest())
const wantName = "sync-users-rjfhcwphxx"

func TestRunName(t *testing.T) {
	long := strings.Repeat("d", 63)
	for _, tc := range []struct {
		definition, schedule string
		time                 time.Time
		want                 string
	}{
		{"sync-users", "nightly", parsedNow, wantName},
		{"sync-users", "nightly", parsedNow.Add(59 * time.Second), wantName},
		{"sync-users", "nightly", parsedNow.In(time.FixedZone("", 3600)), wantName},
	} {
		if got := RunName(tc.definition, tc.schedule, tc.time); got != tc.want {
			t.Errorf("RunName(%s, %s, %s) is %s, want %s", tc.definition, tc.schedule, tc.time, got, tc.want)
		}
	}
	if got := RunName(long, "s", parsedNow); len(got) != v1alpha1.MaxTemplateRunName || !strings.HasPrefix(got, long[:41]+"-") {
		t.Errorf("a long name becomes %s", got)
	}
	if RunName("a", "b", parsedNow) == RunName("a", "b", parsedNow.Add(time.Minute)) || RunName(long, "s", parsedNow) == RunName(long[:62], "s", parsedNow) {
		t.Error("two ticks have one name")
	}
}

func TestAwaits(t *testing.T) {
	definition := func(change func(*v1alpha1.JobDefinition)) *v1alpha1.JobDefinition {
		d := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Name: "job", CreationTimestamp: metav1.NewTime(parsedNow.Add(-time.Hour))}}
		d.Spec.Schedules = []v1alpha1.JobSchedule{{Name: "nightly", Schedule: "4 3 * * *"}}
		change(d)
		return d
	}
	status := func(last, next time.Duration) func(*v1alpha1.JobDefinition) {
		return func(d *v1alpha1.JobDefinition) {
			known := v1alpha1.JobScheduleStatus{Name: "nightly", LastScheduleTime: &metav1.Time{Time: parsedNow.Add(last)}}
			if next != 0 {
				known.NextScheduleTime = &metav1.Time{Time: parsedNow.Add(next)}
			}
			d.Status.Schedules = []v1alpha1.JobScheduleStatus{known}
		}
	}
	run := NewRun(definition(func(*v1alpha1.JobDefinition) {}), &v1alpha1.JobSchedule{Name: "nightly"}, parsedNow)
	forged := run.DeepCopy()
	forged.Annotations[v1alpha1.AnnotationScheduledTime] = "2999-01-01T00:00:00Z"
	plain := run.DeepCopy()
	plain.Labels = nil
	for name, tc := range map[string]struct {
		run        *v1alpha1.JobRun
		definition *v1alpha1.JobDefinition
		want       bool
	}{
		"nothing is stored yet":              {run, definition(func(*v1alpha1.JobDefinition) {}), true},
		"the time before is stored":          {run, definition(status(-24*time.Hour, 0)), true},
		"the time before, and this one next": {run, definition(status(-24*time.Hour, -time.Nanosecond)), true},
		"its time is stored":                 {run, definition(status(0, 24*time.Hour)), false},
		"a later time is stored":             {run, definition(status(24*time.Hour, 0)), false},
		"a later time is next":               {run, definition(status(-24*time.Hour, time.Minute)), false},
		"the definition is gone":             {run, nil, false},
		"the schedule is gone":               {run, definition(func(d *v1alpha1.JobDefinition) { d.Spec.Schedules = nil }), false},
		"the definition is a later one": {run, definition(func(d *v1alpha1.JobDefinition) {
			d.CreationTimestamp = metav1.NewTime(parsedNow)
		}), false},
		"no schedule triggered it":             {plain, definition(func(*v1alpha1.JobDefinition) {}), false},
		"label and annotation that do not fit": {forged, definition(func(*v1alpha1.JobDefinition) {}), false},
	} {
		if got := Awaits(tc.run, tc.definition); got != tc.want {
			t.Errorf("%s: awaits %t, want %t", name, got, tc.want)
		}
	}
}

func TestIsAhead(t *testing.T) {
	for after, want := range map[time.Duration]bool{-time.Hour: false, 0: false, 10 * time.Minute: false, 10*time.Minute + 1: true} {
		if got := IsAhead(&metav1.Time{Time: parsedNow.Add(after)}, parsedNow); got != want {
			t.Errorf("%s: ahead %t, want %t", after, got, want)
		}
	}
	if IsAhead(nil, parsedNow) {
		t.Error("no time is ahead")
	}
}
