// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestValidate(t *testing.T) {
	path := field.NewPath("spec", "schedules").Index(3)
	for name, tc := range map[string]struct {
		expression, zone string
		// want is the beginning of the error and a text in it; both empty for a valid schedule.
		want, text string
	}{
		"a time each day":                 {"0 3 * * *", "Europe/Berlin", "", ""},
		"names of months and days":        {"0 3 * jan-mar MON", "", "", ""},
		"a leap day":                      {"0 0 29 2 *", "", "", ""},
		"31 February, or a Monday":        {"0 0 31 2 1", "", "", ""},
		"UTC":                             {"@daily", "UTC", "", ""},
		"31 February":                     {"0 0 31 2 *", "", "spec.schedules[3].schedule:", "never fires"},
		"31 in months of 30 days":         {"0 0 31 2,4,6,9,11 *", "", "spec.schedules[3].schedule:", "never fires"},
		"no minute at all":                {", * * * *", "", "spec.schedules[3].schedule:", "never fires"},
		"TZ":                              {"TZ=Europe/Berlin 0 3 * * *", "", "spec.schedules[3].schedule:", "use timeZone"},
		"CRON_TZ":                         {"CRON_TZ=UTC 0 3 * * *", "", "spec.schedules[3].schedule:", "use timeZone"},
		"TZ that lets the parser panic":   {"TZ=UTC", "", "spec.schedules[3].schedule:", "use timeZone"},
		"six fields":                      {"0 0 3 * * *", "", "spec.schedules[3].schedule:", "expected exactly 5 fields"},
		"an hour that no day has":         {"0 24 * * *", "", "spec.schedules[3].schedule:", "above maximum (23)"},
		"an unknown macro":                {"@fortnightly", "", "spec.schedules[3].schedule:", "unrecognized descriptor"},
		"an interval of seconds":          {"@every 30s", "", "spec.schedules[3].schedule:", "whole number of minutes"},
		"an interval with seconds":        {"@every 90s", "", "spec.schedules[3].schedule:", "whole number of minutes"},
		"an unknown time zone":            {"0 3 * * *", "Europe/Entenhausen", "spec.schedules[3].timeZone:", `unknown time zone "Europe/Entenhausen"`},
		"the time zone of the machine":    {"0 3 * * *", "Local", "spec.schedules[3].timeZone:", "must name a time zone"},
		"a path instead of a time zone":   {"0 3 * * *", "../etc/passwd", "spec.schedules[3].timeZone:", "unknown time zone"},
		"an expression of nothing at all": {"", "", "spec.schedules[3].schedule:", "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			s := v1alpha1.JobSchedule{Name: "nightly", Schedule: tc.expression, TimeZone: tc.zone}
			errs := Validate(s, path)
			if _, err := Parse(s); (err == nil) != (tc.want == "") {
				t.Errorf("Parse: %v", err)
			}
			if tc.want == "" {
				if len(errs) > 0 {
					t.Error(errs.ToAggregate())
				}
				return
			}
			if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), tc.want) || !strings.Contains(errs[0].Error(), tc.text) {
				t.Errorf("%v, want %s ... %s", errs, tc.want, tc.text)
			}
		})
	}
}

func TestValidateNamesEachField(t *testing.T) {
	errs := Validate(v1alpha1.JobSchedule{Name: "Nightly!", Schedule: "x", TimeZone: "y"}, field.NewPath("s"))
	var fields []string
	for _, err := range errs {
		fields = append(fields, err.Field)
	}
	if got := strings.Join(fields, " "); got != "s.name s.schedule s.timeZone" {
		t.Errorf("errors at %s", got)
	}
}

func TestTheParserDoesNotPanic(t *testing.T) {
	if _, err := parseStandard("TZ=UTC"); err == nil || !strings.Contains(err.Error(), "cannot be parsed") {
		t.Errorf("%v, want that it cannot be parsed", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0 3 * * *", "@every 5m", "*/0 1-9/3 ? JAN-dec 7", "TZ=x @daily", "CRON_TZ=\x00"} {
		f.Add(seed, "Europe/Berlin")
	}
	now := parsedNow
	f.Fuzz(func(t *testing.T, expression, zone string) {
		s, err := Parse(v1alpha1.JobSchedule{Schedule: expression, TimeZone: zone})
		if err != nil {
			return
		}
		next := s.Next(now)
		if !next.After(now) || !s.Fires(next) {
			t.Errorf("%q in %q: the next time after %s is %s", expression, zone, now, next)
		}
	})
}
