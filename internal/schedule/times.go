// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import "time"

// A time zone is a sequence of periods with one offset from UTC each. In a period, wall-clock times are plain arithmetic. So
// a time that clocks skip is in no period, and a time that they repeat is in two.

// period is a stretch of time in which the offset of a zone does not change. A zero time means that it has no such end.
type period struct {
	start, end time.Time
	offset     time.Duration
}

func periodAt(t time.Time, zone *time.Location) period {
	t = t.In(zone)
	start, end := t.ZoneBounds()
	_, seconds := t.Zone()
	return period{start.UTC(), end.UTC(), time.Duration(seconds) * time.Second}
}

// wall returns the wall-clock time of an instant of the period.
func (p period) wall(t time.Time) time.Time { return t.UTC().Add(p.offset) }

// repeated returns how long the wall clock shows, from the start of the period, times that it has shown before.
func (p period) repeated(zone *time.Location) time.Duration {
	if p.start.IsZero() {
		return 0
	}
	return max(periodAt(p.start.Add(-1), zone).offset-p.offset, 0)
}

// begin returns the first instant of a period that counts. A schedule that does not fire in each hour leaves out the times
// that the clock has shown before.
func (s *Schedule) begin(p period) time.Time {
	if s.dial.isHourly() {
		return p.start
	}
	return p.start.Add(p.repeated(s.zone))
}

// Next returns the first time after t. It is zero only if the schedule does not fire within nine years.
func (s *Schedule) Next(t time.Time) time.Time {
	if s.every > 0 {
		return floor(t, s.every).Add(s.every)
	}
	horizon := t.AddDate(rarest, 0, 0)
	for from := t.Add(1); from.Before(horizon); {
		p := periodAt(from, s.zone)
		end := horizon
		if !p.end.IsZero() && p.end.Before(horizon) {
			end = p.end
		}
		if found := s.dial.first(p.wall(latest(from, s.begin(p))), p.wall(end)); !found.IsZero() {
			return found.Add(-p.offset)
		}
		from = end
	}
	return time.Time{}
}

// Last returns the last time in (after, until]; zero if there is none.
func (s *Schedule) Last(after, until time.Time) time.Time {
	if s.every > 0 {
		return ifAfter(floor(until, s.every), after)
	}
	after = latest(after, until.AddDate(-rarest, 0, 0))
	for to := until; to.After(after); {
		p := periodAt(to, s.zone)
		from := latest(after.Add(1), s.begin(p))
		if found := s.dial.last(p.wall(from), p.wall(to)); !found.IsZero() {
			return ifAfter(found.Add(-p.offset), after)
		}
		if p.start.IsZero() {
			break
		}
		to = p.start.Add(-1)
	}
	return time.Time{}
}

// Fires reports whether t is a time of the schedule.
func (s *Schedule) Fires(t time.Time) bool { return s.Last(t.Add(-1), t).Equal(t) }

// floor returns the last whole multiple of an interval since the epoch that is not after t. An @every counts from the epoch,
// so all replicas agree on its times.
func floor(t time.Time, every time.Duration) time.Time {
	seconds := int64(every / time.Second)
	rest := t.Unix() % seconds
	if rest < 0 {
		rest += seconds
	}
	return time.Unix(t.Unix()-rest, 0).UTC()
}

func ifAfter(t, after time.Time) time.Time {
	if t.After(after) {
		return t
	}
	return time.Time{}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
