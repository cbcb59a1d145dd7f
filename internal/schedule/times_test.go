// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const stamp = "2006-01-02 15:04"

func parsed(t interface {
	Helper()
	Fatal(args ...any)
}, expression, zone string) *Schedule {
	t.Helper()
	s, err := Parse(v1alpha1.JobSchedule{Schedule: expression, TimeZone: zone})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(stamp, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// The times on the days on which clocks change. All times are UTC.
func TestDaylightSaving(t *testing.T) {
	for name, tc := range map[string]struct {
		expression, zone, from string
		want                   []string
	}{
		"Berlin, forward: 02:30 does not exist": {
			"30 2 * * *", "Europe/Berlin", "2026-03-28 00:00",
			[]string{"2026-03-28 01:30", "2026-03-30 00:30", "2026-03-31 00:30"},
		},
		"Berlin, forward: 03:00 is an hour earlier": {
			"0 3 * * *", "Europe/Berlin", "2026-03-28 00:00", []string{"2026-03-28 02:00", "2026-03-29 01:00", "2026-03-30 01:00"},
		},
		"Berlin, forward: each hour": {
			"0 * * * *", "Europe/Berlin", "2026-03-28 23:30", []string{"2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00"},
		},
		"Berlin, back: 02:30 exists twice and fires once": {
			"30 2 * * *", "Europe/Berlin", "2026-10-24 00:00", []string{"2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"},
		},
		"Berlin, back: 03:00 exists once": {
			"0 3 * * *", "Europe/Berlin", "2026-10-24 12:00", []string{"2026-10-25 02:00", "2026-10-26 02:00"},
		},
		"Berlin, back: each half hour": {
			"*/30 * * * *", "Europe/Berlin", "2026-10-24 23:59",
			[]string{"2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30", "2026-10-25 02:00"},
		},
		"Berlin, back: not in each hour": {
			"0 1-4 * * *", "Europe/Berlin", "2026-10-24 20:00",
			[]string{"2026-10-24 23:00", "2026-10-25 00:00", "2026-10-25 02:00", "2026-10-25 03:00", "2026-10-26 00:00"},
		},
		"New York, forward: 02:00 does not exist": {
			"0 2 * * *", "America/New_York", "2026-03-07 00:00", []string{"2026-03-07 07:00", "2026-03-09 06:00"},
		},
		"New York, back: 01:15 exists twice and fires once": {
			"15 1 * * *", "America/New_York", "2026-10-31 00:00", []string{"2026-10-31 05:15", "2026-11-01 05:15", "2026-11-02 06:15"},
		},
		"New York, back: each hour": {
			"15 * * * *", "America/New_York", "2026-11-01 05:00", []string{"2026-11-01 05:15", "2026-11-01 06:15", "2026-11-01 07:15"},
		},
		"Lord Howe, forward by half an hour: 02:15 does not exist": {
			"15 2 * * *", "Australia/Lord_Howe", "2026-10-02 00:00", []string{"2026-10-02 15:45", "2026-10-04 15:15"},
		},
		"Lord Howe, forward by half an hour: 02:45 and 03:00 exist": {
			"45 2 * * *", "Australia/Lord_Howe", "2026-10-03 00:00", []string{"2026-10-03 15:45", "2026-10-04 15:45"},
		},
		"Lord Howe, forward by half an hour: 03:00 fires": {
			"0 3 * * *", "Australia/Lord_Howe", "2026-10-03 00:00", []string{"2026-10-03 16:00", "2026-10-04 16:00"},
		},
		"Lord Howe, back by half an hour: 01:45 exists twice and fires once": {
			"45 1 * * *", "Australia/Lord_Howe", "2026-04-03 00:00", []string{"2026-04-03 14:45", "2026-04-04 14:45", "2026-04-05 15:15"},
		},
		"Lord Howe, back by half an hour: each quarter of an hour": {
			"*/15 * * * *", "Australia/Lord_Howe", "2026-04-04 14:29",
			[]string{
				"2026-04-04 14:30", "2026-04-04 14:45", "2026-04-04 15:00", "2026-04-04 15:15", "2026-04-04 15:30",
			},
		},
		"without a time zone": {"0 3 * * *", "", "2026-03-29 00:00", []string{"2026-03-29 03:00", "2026-03-30 03:00"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := parsed(t, tc.expression, tc.zone)
			var got []string
			next := at(t, tc.from).Add(-time.Minute)
			for range tc.want {
				before := next
				next = s.Next(next)
				got = append(got, next.Format(stamp))
				if last := s.Last(before, next); !last.Equal(next) {
					t.Errorf("the last time until %s is %s", next, last)
				}
				if last := s.Last(before, next.Add(-1)); !last.IsZero() {
					t.Errorf("%s is skipped", last)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("times (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMacros(t *testing.T) {
	from := at(t, "2026-02-11 10:20") // a Wednesday
	for expression, want := range map[string][2]string{
		"@yearly":    {"2026-01-01 00:00", "2027-01-01 00:00"},
		"@annually":  {"2026-01-01 00:00", "2027-01-01 00:00"},
		"@monthly":   {"2026-02-01 00:00", "2026-03-01 00:00"},
		"@weekly":    {"2026-02-08 00:00", "2026-02-15 00:00"},
		"@daily":     {"2026-02-11 00:00", "2026-02-12 00:00"},
		"@midnight":  {"2026-02-11 00:00", "2026-02-12 00:00"},
		"@hourly":    {"2026-02-11 10:00", "2026-02-11 11:00"},
		"@every 90m": {"2026-02-11 09:00", "2026-02-11 10:30"},
		"@every 1m":  {"2026-02-11 10:20", "2026-02-11 10:21"},
	} {
		s := parsed(t, expression, "")
		if got := s.Last(from.AddDate(-2, 0, 0), from).Format(stamp); got != want[0] {
			t.Errorf("%s: last %s, want %s", expression, got, want[0])
		}
		if got := s.Next(from).Format(stamp); got != want[1] {
			t.Errorf("%s: next %s, want %s", expression, got, want[1])
		}
	}
}

// A schedule of each minute, and one that fires every eight years at the latest, after a century without a look.
func TestLongDowntime(t *testing.T) {
	now := at(t, "2103-05-06 07:08").Add(30 * time.Second)
	for expression, want := range map[string]string{
		"* * * * *": "2103-05-06 07:08", "0 0 29 2 *": "2096-02-29 00:00", "0 12 31 12 *": "2102-12-31 11:00",
	} {
		s := parsed(t, expression, "")
		if expression == "0 12 31 12 *" {
			s = parsed(t, expression, "Europe/Berlin")
		}
		var got time.Time
		took := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				got = s.Last(now.AddDate(-100, 0, 0), now)
			}
		})
		if got.Format(stamp) != want {
			t.Errorf("%s: last %s, want %s", expression, got.Format(stamp), want)
		}
		if each := time.Duration(took.NsPerOp()); each > 20*time.Millisecond {
			t.Errorf("%s: took %s", expression, each)
		}
	}
	if got := parsed(t, "0 0 29 2 *", "").Next(now.AddDate(-6, 0, 0)).Format(stamp); got != "2104-02-29 00:00" {
		t.Errorf("after 2096, 29 February is next on %s", got)
	}
}

// All times in some days around a change of the clocks, found by looking at each minute.
func TestPropertyTimesAreThoseOfEachMinute(t *testing.T) {
	changes := map[string][]string{
		"Europe/Berlin":       {"2026-03-29 01:00", "2026-10-25 01:00"},
		"America/New_York":    {"2026-03-08 07:00", "2026-11-01 06:00"},
		"Australia/Lord_Howe": {"2026-04-04 15:00", "2026-10-03 15:30"},
		"Pacific/Apia":        {"2011-12-30 10:00"}, // has no 30 December 2011
		"Asia/Kathmandu":      {"2026-03-29 01:00"},
	}
	rapid.Check(t, func(rt *rapid.T) {
		zone := rapid.SampledFrom(slices.Sorted(func(yield func(string) bool) {
			for name := range changes {
				if !yield(name) {
					return
				}
			}
		})).Draw(rt, "zone")
		change := at(t, rapid.SampledFrom(changes[zone]).Draw(rt, "change"))
		number := func(label string, low, high int) string {
			a := rapid.IntRange(low, high).Draw(rt, label)
			b := rapid.IntRange(a, high).Draw(rt, label+" to")
			return rapid.SampledFrom([]string{"*", "*/7", fmt.Sprint(a), fmt.Sprintf("%d-%d", a, b), fmt.Sprintf("%d,%d", a, b)}).Draw(rt, label+" as")
		}
		expression := strings.Join([]string{
			number("minute", 0, 59), rapid.SampledFrom([]string{number("hour", 0, 23), number("hour", 0, 4)}).Draw(rt, "hour"),
			"*", "*", rapid.SampledFrom([]string{"*", "0", "6,0,1"}).Draw(rt, "weekday"),
		}, " ")
		s := parsed(rt, expression, zone)
		from := change.Add(-time.Duration(rapid.IntRange(0, 40*60).Draw(rt, "minutes before")) * time.Minute)
		until := change.Add(time.Duration(rapid.IntRange(1, 40*60).Draw(rt, "minutes after")) * time.Minute)
		var want []string
		for minute := from.Add(time.Minute); !minute.After(until); minute = minute.Add(time.Minute) {
			if s.shows(minute) && (s.dial.isHourly() || !s.shown(minute)) {
				want = append(want, minute.Format(stamp))
			}
		}
		var up, down []string
		for next := s.Next(from); !next.After(until); next = s.Next(next) {
			up = append(up, next.Format(stamp))
		}
		for last := s.Last(from, until); !last.IsZero(); last = s.Last(from, last.Add(-1)) {
			down = append(down, last.Format(stamp))
		}
		slices.Reverse(down)
		if diff := cmp.Diff(want, up); diff != "" {
			rt.Fatalf("%s in %s, Next (-want +got):\n%s", expression, zone, diff)
		}
		if diff := cmp.Diff(want, down); diff != "" {
			rt.Fatalf("%s in %s, Last (-want +got):\n%s", expression, zone, diff)
		}
	})
}

// shows reports whether the wall clock shows a time that matches.
func (s *Schedule) shows(t time.Time) bool {
	wall := t.In(s.zone)
	return s.dial.minute&(1<<wall.Minute()) != 0 && s.dial.hour&(1<<wall.Hour()) != 0 && s.dial.matchesDay(wall)
}

// shown reports whether the wall clock has shown the same time in the hours before.
func (s *Schedule) shown(t time.Time) bool {
	const wall = "2006-01-02 15:04"
	for before := range 3 * 60 {
		if t.Add(-time.Duration(before+1)*time.Minute).In(s.zone).Format(wall) == t.In(s.zone).Format(wall) {
			return true
		}
	}
	return false
}
