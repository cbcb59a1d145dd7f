// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// latency is how long the API server takes for a create.
const latency = 5 * time.Millisecond

// api is an API server that stores each JobRun, unless the test says otherwise.
type api struct {
	*Groups

	t *testing.T
	// answer answers the n-th create, from 0. It may change the stored JobRun, and an error refuses the create. It may be nil.
	answer func(n int, run *v1alpha1.JobRun) error
	// lose returns the error of a create that was stored, but whose answer is lost. It may be nil.
	lose func(n int) error
	// by is the definition of the job, or nil. reads counts how often it was asked for.
	by    Definition
	reads int

	mu sync.Mutex
	// sent has all creates, and stored those that were stored.
	sent, stored []*v1alpha1.JobRun
	// begun has when each create began.
	begun []time.Time
}

func newAPI(t *testing.T) *api {
	a := &api{t: t}
	a.Groups = New(Options{Send: a.send, Definition: a.definition, Panicked: panicked, Clock: clock.RealClock{}})
	return a
}

// errBroken is the error of a commit that panicked.
var errBroken = errors.New("broken")

func panicked(context.Context, any) error { return errBroken }

func (a *api) definition(context.Context, string, v1alpha1.DefinitionReference) (Definition, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads++
	if a.by == nil {
		return nil, errors.New("gone")
	}
	return a.by, nil
}

func (a *api) send(_ context.Context, t *Trigger) (Answer, error) {
	a.mu.Lock()
	n := len(a.sent)
	run := &v1alpha1.JobRun{Spec: *t.Spec.DeepCopy()}
	run.Name = fmt.Sprintf("run-%d", n)
	run.Spec.Admission = &v1alpha1.Admission{Disposition: v1alpha1.DispositionCreated, RunName: run.Name}
	if a.by != nil {
		run.Spec.Admission.Definition = &v1alpha1.DefinitionReference{Name: "sync"}
	}
	a.sent, a.begun = append(a.sent, run), append(a.begun, time.Now())
	a.mu.Unlock()
	time.Sleep(latency)
	if a.answer != nil {
		if err := a.answer(n, run); err != nil {
			return Answer{}, err
		}
	}
	a.mu.Lock()
	a.stored = append(a.stored, run)
	a.mu.Unlock()
	if a.lose != nil {
		if err := a.lose(n); err != nil {
			return Answer{}, err
		}
	}
	result := jobrun.TriggerResult{JobRun: run}
	if admission := run.Spec.Admission; admission != nil {
		result.Disposition, result.Run = admission.Disposition, jobrun.RunIdentity{Name: admission.RunName}
	}
	return Answer{TriggerResult: result, Warnings: []string{"of " + run.Name}}, nil
}

// receipts makes each JobRun but the first one a receipt of the first one.
func receipts(n int, run *v1alpha1.JobRun) error {
	if n > 0 {
		run.Spec.Admission.Disposition, run.Spec.Admission.RunName = v1alpha1.DispositionCoalesced, "run-0"
	}
	return nil
}

// refusing refuses the n-th create.
func refusing(refused int, err error) func(int, *v1alpha1.JobRun) error {
	return func(n int, _ *v1alpha1.JobRun) error {
		if n == refused {
			return err
		}
		return nil
	}
}

// call is a trigger that is under way.
type call struct {
	leave  func()
	done   chan struct{}
	answer Answer
	err    error
	took   time.Duration
}

// trigger begins a trigger whose input is i, and returns once it waits for something.
func (a *api) trigger(i int, change ...func(*Trigger)) *call {
	ctx, leave := context.WithCancel(a.t.Context())
	c := &call{leave: leave, done: make(chan struct{})}
	begun := time.Now()
	go func() {
		defer close(c.done)
		t := sharing(change...)
		if t.Spec.Input != nil && string(t.Spec.Input.Raw) == "1" {
			t.Spec.Input = jsonOf(fmt.Sprint(i))
		}
		t.Time = begun
		c.answer, c.err = a.Begin(ctx, t).Wait(ctx)
		c.took = time.Since(begun)
	}()
	synctest.Wait()
	return c
}

// triggers begins n triggers, one after the other.
func (a *api) triggers(n int) []*call {
	var all []*call
	for i := range n {
		all = append(all, a.trigger(i))
	}
	return all
}

// String tells what became of a trigger: its disposition, run and JobRun, or the error.
func (c *call) String() string {
	<-c.done
	if c.err != nil {
		return "error: " + c.err.Error()
	}
	return fmt.Sprintf("%s %s %s", c.answer.Disposition, c.answer.Run.Name, c.answer.JobRun.Name)
}

// want checks what became of triggers.
func want(t *testing.T, calls []*call, want ...string) {
	t.Helper()
	var got []string
	for _, c := range calls {
		got = append(got, c.String())
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// wantSent checks the inputs of all creates: "0" for one trigger, "1+2+3" for one that stands for three.
func (a *api) wantSent(want ...string) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var got []string
	for _, run := range a.sent {
		got = append(got, strings.Join(inputsOf(run), "+"))
		if r := run.Spec.Represents; r != nil && int(r.Count) != len(inputsOf(run)) {
			a.t.Errorf("%s stands for %d", got, r.Count)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		a.t.Errorf("sent %q, want %q", got, want)
	}
	if a.open() > 0 {
		a.t.Errorf("%d lines are left", a.open())
	}
}

// open returns how many lines are left when all has come to rest.
func (a *api) open() int {
	synctest.Wait()
	a.Groups.mu.Lock()
	defer a.Groups.mu.Unlock()
	return len(a.lines)
}

// inputsOf returns the inputs of all triggers that a JobRun stands for. There are at most 33.
func inputsOf(run *v1alpha1.JobRun) []string {
	all := []string{string(run.Spec.Input.Raw)}
	if run.Spec.Represents != nil {
		for _, entry := range run.Spec.Represents.Recent {
			all = append(all, string(entry.Input.Raw))
		}
	}
	return all
}

func TestASingleTriggerIsSentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		for i := range 2 {
			c := a.trigger(i)
			want(t, []*call{c}, fmt.Sprintf("Created run-%d run-%d", i, i))
			if c.took != latency || a.sent[i].Spec.Represents != nil {
				t.Errorf("it took %s: %+v", c.took, a.sent[i].Spec.Represents)
			}
		}
		a.wantSent("0", "1")
	})
}

func TestTriggersThatWaitShareOneJobRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		all := a.triggers(4)
		time.Sleep(latency + 1) // The second create is under way.
		all = append(all, a.trigger(4), a.trigger(5))
		want(t, all, "Created run-0 run-0",
			"Created run-1 run-1", "Coalesced run-1 run-1", "Coalesced run-1 run-1",
			"Created run-2 run-2", "Coalesced run-2 run-2")
		a.wantSent("0", "1+2+3", "4+5")
		if all[2].answer.Warnings[0] != "of run-1" || all[3].took != 2*latency {
			t.Errorf("%q after %s", all[2].answer.Warnings, all[3].took)
		}
		if recent := a.sent[1].Spec.Represents.Recent[0]; recent.User != "ann" || recent.Time.IsZero() {
			t.Errorf("%+v", recent)
		}
	})
}

func TestAReceiptIsTheAnswerOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.answer = receipts
		want(t, a.triggers(3), "Created run-0 run-0", "Coalesced run-0 run-1", "Coalesced run-0 run-1")
		a.wantSent("0", "1+2")
	})
}

// Of the other answers to a group, only a conflict of the key and a lost answer are those of all.
func TestRefusedGroups(t *testing.T) {
	forbidden := apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), "a", errors.New("exceeded quota"))
	for name, tc := range map[string]struct {
		err    error
		shared bool
	}{
		"a conflict":       {conflict(), true},
		"a reserved key":   {reserved(), true},
		"a lost answer":    {&jobrun.UnansweredError{Name: "run-1"}, true},
		"a quota":          {forbidden, false},
		"an older replica": {olderReplica(), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t)
				a.answer = refusing(1, tc.err)
				all := a.triggers(4)
				if tc.shared {
					refused := "error: " + tc.err.Error()
					want(t, all, "Created run-0 run-0", refused, refused, refused)
					a.wantSent("0", "1+2+3")
				} else {
					for _, c := range all {
						if <-c.done; c.err != nil || c.answer.Disposition != v1alpha1.DispositionCreated {
							t.Errorf("%s", c)
						}
					}
					if len(a.sent) != 5 {
						t.Errorf("%d creates", len(a.sent))
					}
				}
				wantOnce(t, a, all, tc.err)
			})
		})
	}
}

// wantOnce checks that each trigger is stored exactly once if it was accepted, and never if its caller had left or it was
// refused. After a lost answer it may be either.
func wantOnce(t interface{ Errorf(string, ...any) }, a *api, all []*call, lost error) {
	times := map[string]int{}
	for _, c := range all {
		<-c.done
	}
	for _, run := range a.stored {
		for _, input := range inputsOf(run) {
			times[input]++
		}
	}
	for i, c := range all {
		got, most, least := times[fmt.Sprint(i)], 1, 1
		switch {
		case errors.Is(c.err, jobrun.ErrUnanswered):
			least = 0
		case c.err != nil:
			most, least = 0, 0
		}
		if got < least || got > most {
			t.Errorf("trigger %d is stored %d times; it was told %s (%v)", i, got, c, lost)
		}
	}
	if a.open() > 0 {
		t.Errorf("%d lines are left", a.open())
	}
}

// An API server or webhook that does not know the field stores the first trigger alone.
func TestAJobRunThatLostItsField(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.answer = func(_ int, run *v1alpha1.JobRun) error {
			run.Spec.Represents = nil
			return nil
		}
		all := a.triggers(4)
		wantOnce(t, a, all, nil)
		if c := all[1]; c.String() != "Created run-1 run-1" || len(a.sent) != 4 {
			t.Errorf("%s, %d creates", c, len(a.sent))
		}
	})
}

// No group follows a refusal, nor a JobRun that the webhook has not seen.
func TestNoGroupFollows(t *testing.T) {
	for name, answer := range map[string]func(int, *v1alpha1.JobRun) error{
		"a refusal": refusing(0, errors.New("refused")),
		"no admission": func(_ int, run *v1alpha1.JobRun) error {
			run.Spec.Admission = nil
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t)
				a.answer = answer
				all := a.triggers(4)
				wantOnce(t, a, all, nil)
				for _, run := range a.sent {
					if run.Spec.Represents != nil {
						t.Errorf("%s stands for %d", run.Name, run.Spec.Represents.Count)
					}
				}
				if len(a.sent) != 4 || all[3].took != 2*latency {
					t.Errorf("%d creates, %s", len(a.sent), all[3].took)
				}
			})
		})
	}
}

// A caller that leaves before its group is sealed is not counted. One that leaves later gets its answer.
func TestCallersThatLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		all := a.triggers(5)
		all[1].leave() // It would have been the first one of its group.
		all[3].leave()
		synctest.Wait()
		time.Sleep(latency + 1)
		all[4].leave()
		want(t, all, "Created run-0 run-0", "error: "+ErrLeft.Error(), "Created run-1 run-1", "error: "+ErrLeft.Error(), "Coalesced run-1 run-1")
		a.wantSent("0", "2+4")
	})
}

func TestAllCallersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		all := a.triggers(3)
		for _, c := range all {
			c.leave()
		}
		left := "error: " + ErrLeft.Error()
		want(t, all, "Created run-0 run-0", left, left)
		a.wantSent("0")
	})
}

// A busy key commits every 20 ms at most. The one that has waited longest may leave meanwhile.
func TestABusyKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		all := a.triggers(crowd + 1)
		time.Sleep(latency + 1)
		all[1].leave()
		for i := range 2 {
			all = append(all, a.trigger(crowd+1+i))
		}
		for _, c := range all[2:] {
			if <-c.done; c.err != nil || c.answer.JobRun.Name != "run-1" {
				t.Fatalf("%s", c)
			}
		}
		if r := a.sent[1].Spec.Represents; len(a.sent) != 2 || r.Count != crowd+1 || len(r.Recent) != v1alpha1.MaxRepresentedRecent || !errors.Is(all[1].err, ErrLeft) {
			t.Errorf("%d creates, the second one stands for %+v", len(a.sent), r)
		}
		if pause := a.begun[1].Sub(a.begun[0]); pause != interval {
			t.Errorf("%s between the commits", pause)
		}
	})
}

func TestAFewTriggersDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		all := a.triggers(64)
		<-all[63].done
		if pause := a.begun[1].Sub(a.begun[0]); pause != latency {
			t.Errorf("%s between the commits", pause)
		}
	})
}

// Callers of a group come back. The next group waits for as many as before, besides the one that waits already, but not longer than
// twice the time of the commit before.
func TestAGroupGathers(t *testing.T) {
	const late = 3 * time.Millisecond
	for name, tc := range map[string]struct {
		before, back, leave int
		want                int
		pause               time.Duration
	}{
		"all come back":         {several, several, 0, several + 1, latency + late},
		"more come":             {several, several + 5, 0, several + 1, latency + late},
		"one does not come":     {several, several - 1, 0, several, 3 * latency},
		"none comes":            {several, 0, 0, 1, 3 * latency},
		"one leaves":            {several, several, 1, several, 3 * latency},
		"there were few before": {several - 1, several - 1, 0, 1, latency},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t)
				all := a.triggers(tc.before + 1)
				time.Sleep(latency + 1) // The second create is under way.
				all = append(all, a.trigger(0))
				time.Sleep(latency + late - 1)
				for i := range tc.back {
					c := a.trigger(0)
					if i < tc.leave {
						c.leave()
						synctest.Wait()
					}
					all = append(all, c)
				}
				for _, c := range all {
					<-c.done
				}
				if got := represented(a.sent[2]); got != tc.want {
					t.Errorf("the JobRun stands for %d, want %d", got, tc.want)
				}
				if pause := a.begun[2].Sub(a.begun[1]); pause != tc.pause {
					t.Errorf("%s between the commits, want %s", pause, tc.pause)
				}
				if a.open() > 0 {
					t.Errorf("%d lines are left", a.open())
				}
			})
		})
	}
}

// represented returns how many triggers a JobRun stands for.
func represented(run *v1alpha1.JobRun) int {
	if run.Spec.Represents == nil {
		return 1
	}
	return int(run.Spec.Represents.Count)
}

// A group has no more triggers than the API allows.
func TestTheLargestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		first := a.trigger(0)
		for range v1alpha1.MaxRepresented + 2 {
			a.Begin(t.Context(), sharing())
		}
		<-first.done
		time.Sleep(time.Second)
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.sent) != 3 || a.sent[1].Spec.Represents.Count != v1alpha1.MaxRepresented || a.sent[2].Spec.Represents.Count != 2 {
			t.Errorf("%d creates", len(a.sent))
		}
	})
}

// A key does not wait for another one, nor another caller for this one.
func TestKeysDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		all := a.triggers(4)
		for name, change := range map[string]func(*Trigger){
			"another key":    func(t *Trigger) { t.Spec.ConcurrencyKey = "other" },
			"another caller": func(t *Trigger) { t.User = "bob" },
			"no key":         func(t *Trigger) { t.Spec.ConcurrencyKey, t.Spec.Coalesce = "", "" },
		} {
			if c := a.trigger(10, change); c.String() == "" || c.took != latency {
				t.Errorf("%s took %s", name, c.took)
			}
		}
		<-all[3].done
	})
}

// Triggers that the definition refuses are sent alone, for an answer of their own.
func TestDefinedJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.by = compiled(t)
		var all []*call
		for _, input := range []string{`{"org":"k"}`, `{"org":"other"}`, `{"org":"k"}`, `{"org":"k"}`, `{}`} {
			all = append(all, a.trigger(0, func(t *Trigger) { t.Spec.Input = jsonOf(input) }))
		}
		for _, c := range all {
			if <-c.done; c.err != nil {
				t.Error(c)
			}
		}
		got := map[string]bool{}
		for _, run := range a.sent {
			got[strings.Join(inputsOf(run), "+")] = true
		}
		if len(a.sent) != 4 || !got[`{"org":"other"}`] || !got[`{}`] || !got[`{"org":"k"}+{"full":false,"org":"k"}`] {
			t.Errorf("sent %v", got)
		}
	})
}

// Without its definition, nothing is known about a group.
func TestADefinitionThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.answer = func(_ int, run *v1alpha1.JobRun) error {
			run.Spec.Admission.Definition = &v1alpha1.DefinitionReference{Name: "sync"}
			return nil
		}
		all := a.triggers(4)
		wantOnce(t, a, all, nil)
		if len(a.sent) != 4 {
			t.Errorf("%d creates", len(a.sent))
		}
	})
}

// A panic ends neither the wait of the others nor the line. None of its group is sent again.
func TestAPanic(t *testing.T) {
	for panics := range 2 {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t)
			a.answer = func(n int, _ *v1alpha1.JobRun) error {
				if n == panics {
					panic("broken")
				}
				return nil
			}
			for i, c := range a.triggers(4) {
				if <-c.done; errors.Is(c.err, errBroken) != (panics == 0 && i == 0 || panics == 1 && i > 0) {
					t.Errorf("create %d panics: trigger %d was told %s", panics, i, c)
				}
			}
			synctest.Wait()
			if c := a.trigger(9); c.String() == "" || c.err != nil || a.open() > 0 {
				t.Errorf("after it: %s", c)
			}
		})
	}
}

// A panic of a trigger that shares with none is its own.
func TestAPanicOfASingleTrigger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.answer = func(int, *v1alpha1.JobRun) error { panic("broken") }
		c := a.trigger(0, func(t *Trigger) { t.Spec.IdempotencyKey = "once" })
		if <-c.done; !errors.Is(c.err, errBroken) {
			t.Errorf("it was told %s", c)
		}
	})
}

// broken is a definition that panics.
type broken struct{}

func (broken) Complete(*v1alpha1.JobRunSpec, map[string]string) (v1alpha1.JobRunSpec, field.ErrorList) {
	panic("broken")
}

// A definition that panics ends neither the wait of the others nor the line.
func TestADefinitionThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.by = broken{}
		all := a.triggers(4)
		time.Sleep(time.Minute)
		for i, c := range all {
			select {
			case <-c.done:
				if errors.Is(c.err, errBroken) != (i > 0) {
					t.Errorf("trigger %d was told %s", i, c)
				}
			default:
				t.Errorf("trigger %d waits for ever", i)
			}
		}
		if a.open() > 0 {
			t.Error("the line is left")
		}
	})
}
