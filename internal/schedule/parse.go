// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // The image has no time zones.

	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Schedule is a parsed schedule in its time zone.
type Schedule struct {
	// every is the interval of an @every; 0 for all other schedules.
	every time.Duration
	dial  dial
	zone  *time.Location
}

// Parse returns the schedule of a definition. The error is that of Validate.
func Parse(s v1alpha1.JobSchedule) (*Schedule, error) {
	parsed, errs := parse(s, nil)
	return parsed, errs.ToAggregate()
}

// Validate returns what is wrong with a schedule: its name, an expression that cannot be parsed, has a time zone in it or
// never fires, and a time zone that is not known. path is the field of the schedule.
func Validate(s v1alpha1.JobSchedule, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, message := range validation.IsDNS1123Label(s.Name) {
		errs = append(errs, field.Invalid(path.Child("name"), s.Name, message))
	}
	_, wrong := parse(s, path)
	return append(errs, wrong...)
}

func parse(s v1alpha1.JobSchedule, path *field.Path) (*Schedule, field.ErrorList) {
	var errs field.ErrorList
	parsed, err := parseExpression(s.Schedule)
	if err != nil {
		errs = append(errs, field.Invalid(path.Child("schedule"), s.Schedule, err.Error()))
	}
	zone, err := zoneOf(s.TimeZone)
	if err != nil {
		errs = append(errs, field.Invalid(path.Child("timeZone"), s.TimeZone, err.Error()))
	}
	if len(errs) > 0 {
		return nil, errs
	}
	parsed.zone = zone
	return parsed, nil
}

// zoneOf returns the time zone of a name; UTC for an empty one. The zone of the machine is no answer: each replica may have
// another one.
func zoneOf(name string) (*time.Location, error) {
	if strings.EqualFold(name, "local") {
		return nil, errors.New("must name a time zone, for example Europe/Berlin")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("unknown time zone %q: use a name such as Europe/Berlin", name)
	}
	return zone, nil
}

func parseExpression(expression string) (*Schedule, error) {
	if strings.Contains(expression, "TZ") {
		return nil, errors.New("must not have TZ or CRON_TZ: use timeZone")
	}
	parsed, err := parseStandard(expression)
	if err != nil {
		return nil, err
	}
	switch parsed := parsed.(type) {
	case *cron.SpecSchedule:
		d := dial{minute: parsed.Minute, hour: parsed.Hour, day: parsed.Dom, month: parsed.Month, weekday: parsed.Dow}
		if !d.everFires() {
			return nil, errors.New("never fires: no year has such a day")
		}
		return &Schedule{dial: d}, nil
	case cron.ConstantDelaySchedule:
		if parsed.Delay < time.Minute || parsed.Delay%time.Minute != 0 {
			return nil, errors.New("@every must be a whole number of minutes, for example @every 90m")
		}
		return &Schedule{every: parsed.Delay}, nil
	default:
		return nil, fmt.Errorf("unknown kind of schedule %T", parsed)
	}
}

// parseStandard calls the parser, which panics on some inputs.
func parseStandard(expression string) (parsed cron.Schedule, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be parsed: %v", r)
		}
	}()
	return cron.ParseStandard(expression)
}
