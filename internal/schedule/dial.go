// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import "time"

// dial has the fields of a cron expression as bit sets, and finds the wall-clock times that they match. A wall-clock time is
// a time.Time in UTC: its zone means nothing, so each day has 24 hours.
type dial struct{ minute, hour, day, month, weekday uint64 }

const (
	// star is the bit that the parser sets for a field that is * or ?.
	star = 1 << 63
	// allHours are the bits of the hours 0 to 23.
	allHours = 1<<24 - 1
	// rarest is the number of years within which each schedule fires that ever fires: 29 February is missing in 2100.
	rarest = 9
)

// isHourly reports whether the schedule fires in each hour of a day.
func (d dial) isHourly() bool { return d.hour&allHours == allHours }

// everFires reports whether any wall-clock time matches.
func (d dial) everFires() bool {
	leap := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	return !d.first(leap, leap.AddDate(rarest, 0, 0)).IsZero()
}

// first returns the first match in [from, until); zero if there is none.
func (d dial) first(from, until time.Time) time.Time {
	minute := ceil(from)
	for day := midnight(minute); day.Before(until); day = d.nextDay(day) {
		if !d.matchesDay(day) {
			continue
		}
		for hour := range 24 {
			if d.hour&(1<<hour) == 0 {
				continue
			}
			for m := range 60 {
				if t := clock(day, hour, m); d.minute&(1<<m) != 0 && !t.Before(minute) {
					return within(t, until)
				}
			}
		}
	}
	return time.Time{}
}

// last returns the last match in [from, until]; zero if there is none.
func (d dial) last(from, until time.Time) time.Time {
	for day := midnight(until); !day.Before(midnight(from)); day = d.previousDay(day) {
		if !d.matchesDay(day) {
			continue
		}
		for hour := 23; hour >= 0; hour-- {
			if d.hour&(1<<hour) == 0 {
				continue
			}
			for m := 59; m >= 0; m-- {
				if t := clock(day, hour, m); d.minute&(1<<m) != 0 && !t.After(until) {
					return notBefore(t, from)
				}
			}
		}
	}
	return time.Time{}
}

// nextDay returns the next day; of the next month, if no day of this month can match.
func (d dial) nextDay(day time.Time) time.Time {
	if d.month&(1<<day.Month()) == 0 {
		return time.Date(day.Year(), day.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	}
	return day.AddDate(0, 0, 1)
}

// previousDay returns the day before; of the month before, if no day of this month can match.
func (d dial) previousDay(day time.Time) time.Time {
	if d.month&(1<<day.Month()) == 0 {
		return time.Date(day.Year(), day.Month(), 0, 0, 0, 0, 0, time.UTC)
	}
	return day.AddDate(0, 0, -1)
}

// matchesDay reports whether a day matches. If both the day of the month and the weekday are restricted, one of them is enough.
func (d dial) matchesDay(day time.Time) bool {
	if d.month&(1<<day.Month()) == 0 {
		return false
	}
	inMonth, inWeek := d.day&(1<<day.Day()) != 0, d.weekday&(1<<day.Weekday()) != 0
	if d.day&star != 0 || d.weekday&star != 0 {
		return inMonth && inWeek
	}
	return inMonth || inWeek
}

// clock returns a time of a day.
func clock(day time.Time, hour, minute int) time.Time {
	return day.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
}

// midnight returns the beginning of the day of a wall-clock time.
func midnight(t time.Time) time.Time { return t.Truncate(24 * time.Hour) }

// ceil returns the first whole minute that is not before t.
func ceil(t time.Time) time.Time { return t.Add(time.Minute - 1).Truncate(time.Minute) }

// within returns t if it is before until, and otherwise zero.
func within(t, until time.Time) time.Time {
	if t.Before(until) {
		return t
	}
	return time.Time{}
}

// notBefore returns t if it is not before from, and otherwise zero.
func notBefore(t, from time.Time) time.Time {
	if t.Before(from) {
		return time.Time{}
	}
	return t
}
