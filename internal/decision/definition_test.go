// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/schedule"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

const short = "02 15:04"

// noon is when these decisions are made: 12:00:30 on 2 January.
var noon = metav1.NewTime(time.Date(2026, time.January, 2, 12, 0, 30, 0, time.UTC))

func on(text string) *metav1.Time {
	t, err := time.Parse(short, text)
	if err != nil {
		panic(err)
	}
	return &metav1.Time{Time: t.AddDate(2026, 0, 0)}
}

func shown(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(short)
}

// scheduled returns a definition with one schedule, which was created on 1 January at noon and observed in this generation.
func scheduled(expression string, known *v1alpha1.JobScheduleStatus) *v1alpha1.JobDefinition {
	d := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Name: "job", Generation: 2, CreationTimestamp: *on("01 12:00")}}
	d.Spec.Schedules = []v1alpha1.JobSchedule{{Name: "s", Schedule: expression}}
	if known != nil {
		known.Name = "s"
		d.Status.ObservedGeneration, d.Status.Schedules = 2, []v1alpha1.JobScheduleStatus{*known}
	}
	return d
}

func TestDueTicks(t *testing.T) {
	added := scheduled("0 9 * * *", nil)
	added.Status.ObservedGeneration = 1
	young := scheduled("0 9 * * *", nil)
	young.CreationTimestamp = *on("02 09:30")
	suspended := scheduled("0 9 * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("01 09:00"), NextScheduleTime: on("02 09:00")})
	suspended.Spec.Schedules[0].Suspend = ptr.To(true)
	within := scheduled("* * * * *", &v1alpha1.JobScheduleStatus{NextScheduleTime: on("02 10:00")})
	within.Spec.Schedules[0].StartingDeadlineSeconds = 30
	late := scheduled("0 9 * * *", &v1alpha1.JobScheduleStatus{NextScheduleTime: on("02 09:00")})
	late.Spec.Schedules[0].StartingDeadlineSeconds = 3600
	for name, tc := range map[string]struct {
		definition *v1alpha1.JobDefinition
		want       string
		missed     bool
	}{
		"the next time has come":                  {scheduled("0 12 * * *", &v1alpha1.JobScheduleStatus{NextScheduleTime: on("02 12:00")}), "02 12:00", false},
		"the next time has not come":              {scheduled("5 12 * * *", &v1alpha1.JobScheduleStatus{NextScheduleTime: on("02 12:05")}), "", false},
		"the time is handled":                     {scheduled("0 12 * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("02 12:00"), NextScheduleTime: on("03 12:00")}), "", false},
		"one catch-up after a long downtime":      {scheduled("*/5 * * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("01 12:00"), NextScheduleTime: on("01 12:05")}), "02 12:00", false},
		"within startingDeadlineSeconds":          {within, "02 12:00", false},
		"later than startingDeadlineSeconds":      {late, "02 09:00", true},
		"no status yet":                           {scheduled("0 9 * * *", nil), "02 09:00", false},
		"no status yet, created after the time":   {young, "", false},
		"added to a definition that was observed": {added, "", false},
		"suspended":                             {suspended, "", false},
		"resumed":                               {scheduled("0 9 * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("01 09:00")}), "02 09:00", false},
		"resumed, nothing was missed":           {scheduled("0 9 * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("02 09:00")}), "", false},
		"edited to an earlier time of this day": {scheduled("0 9 * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("02 03:00"), NextScheduleTime: on("03 03:00")}), "", false},
		"edited in another field":               {scheduled("0 9 * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("01 09:00"), NextScheduleTime: on("02 09:00")}), "02 09:00", false},
		"handled by a clock that is ahead":      {scheduled("* * * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("02 12:03"), NextScheduleTime: on("02 12:04")}), "", false},
		"handled by a clock that was wrong":     {scheduled("* * * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("03 12:00"), NextScheduleTime: on("03 12:01")}), "", false},
		"a time that a wrong clock has set":     {scheduled("* * * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("02 11:00"), NextScheduleTime: on("03 12:01")}), "", false},
		"a schedule that cannot be parsed":      {scheduled("x", &v1alpha1.JobScheduleStatus{NextScheduleTime: on("02 12:00")}), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			due := Definition{Now: noon, Definition: tc.definition}.DueTicks()
			got, missed := "", false
			for _, tick := range due {
				got, missed = got+tick.Time.Format(short), tick.Missed
			}
			if got != tc.want || missed != tc.missed {
				t.Errorf("due %q, missed %t, want %q, %t", got, missed, tc.want, tc.missed)
			}
		})
	}
}

// The states of one schedule, one reconcile after the other: a definition that is edited between two ticks.
func TestAnEditBetweenTwoTicks(t *testing.T) {
	d := scheduled("0 3 * * *", nil)
	d.CreationTimestamp = *on("02 00:00")
	var story []string
	at := func(when string, change func(*v1alpha1.JobSchedule)) {
		t.Helper()
		if change != nil {
			change(&d.Spec.Schedules[0])
			d.Generation++
		}
		o := Definition{Now: *on(when), Definition: d, Reason: v1alpha1.ReasonDefinitionValid}
		due := o.DueTicks()
		var results []TickResult
		for _, tick := range due {
			results = append(results, TickResult{Tick: tick, Outcome: TickCreated})
			story = append(story, when+": triggers "+tick.Time.Format(short))
		}
		d.Status = o.Status(due, results)
		known := d.Status.Schedules[0]
		story = append(story, when+": last "+shown(known.LastScheduleTime)+", next "+shown(known.NextScheduleTime))
	}
	at("02 00:01", nil)
	at("02 03:00", nil)
	at("02 12:00", func(s *v1alpha1.JobSchedule) { s.Schedule = "0 9 * * *" })
	at("02 12:01", func(s *v1alpha1.JobSchedule) { s.Schedule = "30 12 * * *" })
	at("02 12:02", func(s *v1alpha1.JobSchedule) { s.TimeZone = "Europe/Berlin" })
	at("02 12:03", func(s *v1alpha1.JobSchedule) { s.TimeZone, s.Suspend = "", ptr.To(true) })
	at("02 12:40", func(s *v1alpha1.JobSchedule) { s.Suspend = nil })
	want := []string{
		"02 00:01: last , next 02 03:00",
		"02 03:00: triggers 02 03:00", "02 03:00: last 02 03:00, next 03 03:00",
		"02 12:00: last 02 03:00, next 03 09:00",
		"02 12:01: last 02 03:00, next 02 12:30",
		"02 12:02: last 02 03:00, next 03 11:30",
		"02 12:03: last 02 03:00, next ",
		"02 12:40: triggers 02 12:30", "02 12:40: last 02 12:30, next 03 12:30",
	}
	if diff := cmp.Diff(want, story); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// One look after the other at a schedule of each hour. The clock of one look is wrong. Times before the first right look are not
// known, so none of them is caught up; after it each one triggers.
func TestAClockThatWasAhead(t *testing.T) {
	for name, tc := range map[string]struct {
		wrong string
		want  []string
	}{
		"by a day": {"03 12:30", []string{
			"02 12:00: triggers 02 12:00", "02 12:00: last 02 12:00, next 02 13:00",
			"03 12:30: triggers 03 12:00", "03 12:30: last 03 12:00, next 03 13:00",
			"02 13:05: last , next 02 14:00", "02 13:55: last , next 02 14:00",
			"02 14:00: triggers 02 14:00", "02 14:00: last 02 14:00, next 02 15:00",
		}},
		"by less than the skew of clocks": {"02 13:00", []string{
			"02 12:00: triggers 02 12:00", "02 12:00: last 02 12:00, next 02 13:00",
			"02 13:00: triggers 02 13:00", "02 13:00: last 02 13:00, next 02 14:00",
			"02 12:55: last 02 13:00, next 02 14:00", "02 13:55: last 02 13:00, next 02 14:00",
			"02 14:00: triggers 02 14:00", "02 14:00: last 02 14:00, next 02 15:00",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			right := "02 13:05"
			if tc.wrong == "02 13:00" {
				right = "02 12:55"
			}
			d := scheduled("0 * * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("02 11:00"), NextScheduleTime: on("02 12:00")})
			var story []string
			for _, when := range []string{"02 12:00", tc.wrong, right, "02 13:55", "02 14:00"} {
				o := Definition{Now: *on(when), Definition: d, Reason: v1alpha1.ReasonDefinitionValid}
				due := o.DueTicks()
				var results []TickResult
				for _, tick := range due {
					results = append(results, TickResult{Tick: tick, Outcome: TickCreated})
					story = append(story, when+": triggers "+tick.Time.Format(short))
				}
				d.Status = o.Status(due, results)
				known := d.Status.Schedules[0]
				story = append(story, when+": last "+shown(known.LastScheduleTime)+", next "+shown(known.NextScheduleTime))
			}
			if diff := cmp.Diff(tc.want, story); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefinitionStatus(t *testing.T) {
	d := scheduled("0 12 * * *", &v1alpha1.JobScheduleStatus{LastScheduleTime: on("01 12:00"), NextScheduleTime: on("02 12:00"), LastResult: "Created", LastRunName: "x"})
	d.Status.Schedules = append(d.Status.Schedules, v1alpha1.JobScheduleStatus{Name: "removed"})
	o := Definition{
		Now: noon, Definition: d, Reason: v1alpha1.ReasonInvalidSchedule, Message: "wrong", Waiting: 3, Executing: 2,
		LastEnd: wrappers.MakeJobRun("a").Ended(v1alpha1.PhaseFailed).Obj(),
	}
	due := o.DueTicks()
	status := o.Status(due, []TickResult{{Tick: due[0], Outcome: TickRefused, Reason: "a run\nwaits"}})
	want := v1alpha1.JobDefinitionStatus{
		Waiting: ptr.To(int32(3)), Executing: ptr.To(int32(2)), LastRunTime: wrappers.Epoch.DeepCopy(), LastOutcome: v1alpha1.PhaseFailed,
		Schedules: []v1alpha1.JobScheduleStatus{
			{Name: "s", LastScheduleTime: on("02 12:00"), NextScheduleTime: on("03 12:00"), LastResult: "Refused: a run waits"},
		},
		ObservedGeneration: 2,
		Conditions: []metav1.Condition{{
			Type: "Ready", Status: metav1.ConditionFalse, Reason: "InvalidSchedule", Message: "wrong", ObservedGeneration: 2, LastTransitionTime: noon,
		}},
	}
	if diff := cmp.Diff(want, status); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	open := o.Status(due, nil)
	if got := open.Schedules[0]; shown(got.LastScheduleTime) != "01 12:00" || shown(got.NextScheduleTime) != "02 12:00" || got.LastRunName != "x" {
		t.Errorf("without a result: %+v", got)
	}
	d.Status = open
	if again := o.DueTicks(); len(again) != 1 || !again[0].Time.Equal(due[0].Time) {
		t.Errorf("without a result, due again: %v", again)
	}
	created := o.Status(due, []TickResult{{Tick: due[0], Outcome: TickCreated}}).Schedules[0]
	if created.LastResult != "Created" || created.LastRunName != schedule.RunName("job", "s", due[0].Time) {
		t.Errorf("created: %+v", created)
	}
}

func TestMustTellNow(t *testing.T) {
	before := v1alpha1.JobDefinitionStatus{ObservedGeneration: 1, Waiting: ptr.To(int32(1))}
	counters := *before.DeepCopy()
	counters.Waiting, counters.LastRunTime = ptr.To(int32(2)), &noon
	tick := *before.DeepCopy()
	tick.Schedules = []v1alpha1.JobScheduleStatus{{Name: "s"}}
	edit := *before.DeepCopy()
	edit.ObservedGeneration = 2
	for name, tc := range map[string]struct {
		after v1alpha1.JobDefinitionStatus
		want  bool
	}{"counters": {counters, false}, "a tick": {tick, true}, "an edit": {edit, true}} {
		if got := MustTellNow(&before, &tc.after); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestBeyondHistory(t *testing.T) {
	run := func(name string, phase v1alpha1.Phase, end int) *v1alpha1.JobRun {
		return made(name).Ended(phase).EndedAt(end).Obj()
	}
	ended := []*v1alpha1.JobRun{
		run("c3", v1alpha1.PhaseCompleted, 30), run("c1", v1alpha1.PhaseCompleted, 10), run("c2", v1alpha1.PhaseCompleted, 20),
		run("f2", v1alpha1.PhaseFailed, 25), run("x1", v1alpha1.PhaseCancelled, 5), run("f3", v1alpha1.PhaseFailed, 35),
		made("going").Ended(v1alpha1.PhaseCompleted).EndedAt(1).Deleting().Obj(),
	}
	for name, tc := range map[string]struct {
		successful, failed *int32
		want               []string
	}{
		"the default keeps 100": {},
		"2 and 1":               {ptr.To(int32(2)), ptr.To(int32(1)), []string{"c1", "x1", "f2"}},
		"none":                  {ptr.To(int32(0)), nil, []string{"c1", "c2", "c3"}},
	} {
		d := &v1alpha1.JobDefinition{Spec: v1alpha1.JobDefinitionSpec{SuccessfulRunsHistoryLimit: tc.successful, FailedRunsHistoryLimit: tc.failed}}
		var got []string
		for _, run := range BeyondHistory(d, ended) {
			got = append(got, run.Name)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if last := LatestEnd(append(ended, nil)...); last.Name != "f3" {
		t.Errorf("%s ended last", last.Name)
	}
}

func TestDecideHistory(t *testing.T) {
	worker := func() *wrappers.JobRunWrapper {
		return wrappers.MakeJobRun("a").Created().Leased(1, "5").Ended(v1alpha1.PhaseCompleted)
	}
	job := func() *wrappers.JobRunWrapper { return made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted) }
	settled := answered("r", "a", "4").BoundTo("a").Settled().Obj()
	for name, tc := range map[string]struct {
		run            *v1alpha1.JobRun
		unbound, bound []*v1alpha1.JobRun
		held           string
		unlocked       time.Duration
		want           string
		wantAfter      time.Duration
	}{
		"a worker's run":                       {run: worker().Obj(), want: "trim-history: DeleteRun(a)"},
		"its receipts go first":                {run: worker().Obj(), bound: []*v1alpha1.JobRun{settled}, want: "trim-history: DeleteRun(r); DeleteRun(a)"},
		"a receipt that is not counted":        {run: worker().Obj(), unbound: []*v1alpha1.JobRun{answered("r", "a", "4").Obj()}},
		"a receipt without outcome":            {run: worker().Obj(), bound: []*v1alpha1.JobRun{answered("r", "a", "4").BoundTo("a").Obj()}},
		"held itself":                          {run: worker().Obj(), held: "a"},
		"a receipt is held":                    {run: worker().Obj(), bound: []*v1alpha1.JobRun{settled}, held: "r"},
		"the lock of its Job":                  {run: job().Obj(), unlocked: 20 * time.Second, wantAfter: 40 * time.Second},
		"the lock of its Job is over":          {run: job().Obj(), unlocked: time.Minute, want: "trim-history: DeleteRun(a)"},
		"a run with a Job, but never executed": {run: made("a").Ended(v1alpha1.PhaseCancelled).Obj(), want: "trim-history: DeleteRun(a)"},
	} {
		plan := DecideHistory(Retention{
			Run: tc.run, Unbound: tc.unbound, Bound: tc.bound, Held: map[types.UID]bool{wrappers.UIDOf(tc.held): true},
		}, tc.unlocked)
		if got := plan.String(); got != tc.want || plan.After != tc.wantAfter {
			t.Errorf("%s: %q after %s, want %q after %s", name, got, plan.After, tc.want, tc.wantAfter)
		}
	}
}
