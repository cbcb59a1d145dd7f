// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// TestPropertyToy shows that the toy without flaws passes its checks under every schedule, and that one
// schedule always gives the same trace.
func TestPropertyToy(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		choices := rapid.SliceOfN(rapid.Uint16(), 0, 100).Draw(rt, "choices")
		runs := rapid.IntRange(1, 3).Draw(rt, "runs")
		first, err := runToy(t, toy{}, choices, runs)
		if err != nil {
			rt.Fatal(err)
		}
		second, err := runToy(t, toy{}, choices, runs)
		if err != nil {
			rt.Fatal(err)
		}
		if first != second {
			rt.Fatalf("the same schedule went differently:\n%s\nand then:\n%s", first, second)
		}
	})
}

// TestBrokenToy shows that some schedule finds each flaw, and that the benign schedule finds none.
func TestBrokenToy(t *testing.T) {
	for name, o := range map[string]toy{
		"names a Job after its controller": {ownNames: true},
		"trusts answers":                   {trustsAnswers: true},
		"trusts its cache":                 {trustsCache: true},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := runToy(t, o, nil, 1); err != nil {
				t.Fatalf("the benign schedule fails: %v", err)
			}
			random := rand.New(rand.NewPCG(1, 1))
			for range 2000 {
				choices := make([]uint16, random.IntN(60))
				for i := range choices {
					choices[i] = uint16(random.Uint32())
				}
				if _, err := runToy(t, o, choices, 1); err != nil {
					t.Logf("found with %v:\n%v", choices, err)
					return
				}
			}
			t.Fatal("no schedule found the flaw")
		})
	}
}

func runToy(t *testing.T, o toy, choices []uint16, runs int) (trace string, err error) {
	err = Run(t, func() (err error) {
		trace, err = simulateToy(o, Options{Choices: choices, Faults: 2, Crashes: 1}, runs)
		return err
	})
	return trace, err
}

// fixture is a simulation of one process, see direct.
type fixture struct {
	*Sim
	process *Process
}

// direct simulates one process with one goroutine, which runs do. As soon as a step is possible whose text
// contains texts[0], it is taken, then texts[1], and so on.
func direct(t *testing.T, texts []string, do func(context.Context, *fixture)) *fixture {
	t.Helper()
	f := &fixture{}
	err := Run(t, func() error {
		sim, err := NewSim(Options{Faults: 9, Crashes: 9, AtomicCacheReads: true, Direct: func(steps []Step) (Step, bool) {
			if len(texts) == 0 {
				return Step{}, false
			}
			for _, step := range steps {
				if strings.Contains(step.String(), texts[0]) {
					texts = texts[1:]
					return step, true
				}
			}
			return Step{}, false
		}})
		if err != nil {
			return err
		}
		f.Sim = sim
		sim.AddMachine("machine", func(p *Process) (Source, error) {
			f.process = p
			return nil, p.Cache.Watch(&v1alpha1.RunKey{}, nil)
		})
		f.process.Go("actor", func(ctx context.Context) { do(ctx, f) })
		return sim.Run()
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) > 0 {
		t.Fatalf("no step contained %q:\n%s", texts[0], f.Trace())
	}
	return f
}

func someKey(name string) *v1alpha1.RunKey {
	return &v1alpha1.RunKey{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns"}, Spec: v1alpha1.RunKeySpec{
		Kind: v1alpha1.RunKeyConcurrency, JobName: "sync", Key: "key", Pending: &v1alpha1.PendingRun{RunIdentity: v1alpha1.RunIdentity{RunName: "a", Token: "t"}}}}
}

// TestFaults shows for each fault whether the write is stored, and which error the caller gets.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name    string
		steps   []string
		wantErr error
		stored  bool
	}{
		{name: "none", stored: true},
		{name: "slow answer", steps: []string{"its answer takes its time", "hears of"}, stored: true},
		{name: "lost request", steps: []string{"the request is lost"}, wantErr: errConnection},
		{name: "lost response", steps: []string{"its answer is lost"}, wantErr: errConnection, stored: true},
		{name: "late", steps: []string{"the caller gives up", "late: create RunKey"}, wantErr: errConnection, stored: true},
		{name: "later than the API server's patience", steps: []string{"the caller gives up", "time leaps by 1m40s"}, wantErr: errConnection},
		{name: "deadline of the caller", steps: []string{"time leaps by 15s"}, wantErr: context.DeadlineExceeded},
		{name: "deadline of the caller, then late", steps: []string{"time leaps by 15s", "late: create RunKey"}, wantErr: context.DeadlineExceeded, stored: true},
		{name: "crash", steps: []string{"crashes"}, wantErr: context.Canceled},
		{name: "crash, then late", steps: []string{"crashes", "late: create RunKey"}, wantErr: context.Canceled, stored: true},
		{name: "crash after the write", steps: []string{"its answer takes its time", "crashes"}, wantErr: context.Canceled, stored: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var err error
			f := direct(t, test.steps, func(ctx context.Context, f *fixture) {
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				err = f.process.Client.Create(ctx, someKey("k"))
			})
			if !errors.Is(err, test.wantErr) {
				t.Errorf("the caller is told %v, want %v", err, test.wantErr)
			}
			if stored := len(stored[*v1alpha1.RunKey](f.Server)) == 1; stored != test.stored {
				t.Errorf("stored: %v, want %v\n%s", stored, test.stored, f.Trace())
			}
		})
	}
}

// TestReadsAreLive shows that a read returns the state at its execution, even if the answer arrives late.
func TestReadsAreLive(t *testing.T) {
	var before, after error
	direct(t, []string{"get RunKey k: its answer takes its time", "create RunKey k", "hears of"}, func(ctx context.Context, f *fixture) {
		f.process.Go("writer", func(ctx context.Context) {
			if err := f.process.Client.Create(ctx, someKey("k")); err != nil {
				panic(err)
			}
		})
		name := client.ObjectKey{Namespace: "ns", Name: "k"}
		before = f.process.Live.Get(ctx, name, &v1alpha1.RunKey{})
		after = f.process.Live.Get(ctx, name, &v1alpha1.RunKey{})
	})
	if !apierrors.IsNotFound(before) || after != nil {
		t.Errorf("the reads returned %v, then %v; want NotFound, then nil", before, after)
	}
}

// TestCrashLosesMemory shows that a crashed process writes nothing more, and that its successor starts with
// a synced cache.
func TestCrashLosesMemory(t *testing.T) {
	first := (*Process)(nil)
	f := direct(t, []string{"create RunKey k", "crashes"}, func(ctx context.Context, f *fixture) {
		first = f.process
		_ = f.process.Client.Create(ctx, someKey("k"))
		_ = f.process.Client.Create(ctx, someKey("never"))
	})
	if f.process == first || !first.Crashed() {
		t.Fatal("the process was not replaced")
	}
	if err := f.process.Cache.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "k"}, &v1alpha1.RunKey{}); err != nil {
		t.Errorf("the new cache: %v", err)
	}
	if n := len(stored[*v1alpha1.RunKey](f.Server)); n != 1 {
		t.Errorf("%d RunKeys, want 1: a dead process has written", n)
	}
}

// TestPanicIsViolation shows that a panic in a process ends the simulation with an error, not the test.
func TestPanicIsViolation(t *testing.T) {
	err := Run(t, func() error {
		sim, err := NewSim(Options{})
		if err != nil {
			return err
		}
		p, err := sim.NewProcess("p")
		if err != nil {
			return err
		}
		p.Go("actor", func(context.Context) { panic("ouch") })
		return sim.Run()
	})
	if err == nil || !strings.Contains(err.Error(), "ouch") {
		t.Fatalf("got %v", err)
	}
}

// TestRestlessIsViolation shows that a system that never comes to rest is a violation.
func TestRestlessIsViolation(t *testing.T) {
	err := Run(t, func() error {
		sim, err := NewSim(Options{MaxSteps: 100})
		if err != nil {
			return err
		}
		p, err := sim.NewProcess("p")
		if err != nil {
			return err
		}
		p.Go("actor", func(ctx context.Context) {
			for ctx.Err() == nil {
				_ = p.Live.List(ctx, &batchv1.JobList{})
			}
		})
		return sim.Run()
	})
	if err == nil || !strings.Contains(err.Error(), "does not come to rest") {
		t.Fatalf("got %v", err)
	}
}
