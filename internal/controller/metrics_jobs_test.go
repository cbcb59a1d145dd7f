// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// finishedOf returns how many runs of a job have ended with each outcome, and the sum of their durations in seconds.
func finishedOf(t *testing.T, namespace, job string) (counts map[string]int, seconds float64) {
	t.Helper()
	counts = map[string]int{}
	for _, outcome := range []string{"Completed", "Failed", "Cancelled"} {
		counts[outcome] = int(measured(t, runsFinished.WithLabelValues(namespace, job, outcome)).GetCounter().GetValue())
	}
	histogram := runDuration.WithLabelValues(namespace, job).(prometheus.Histogram)
	return counts, measured(t, histogram).GetHistogram().GetSampleSum()
}

func measured(t *testing.T, metric prometheus.Metric) *dto.Metric {
	t.Helper()
	var m dto.Metric
	if err := metric.Write(&m); err != nil {
		t.Fatal(err)
	}
	return &m
}

// A run is counted by the write that gives it its outcome, once that write has succeeded.
func TestFinishedRuns(t *testing.T) {
	const job = "finished-runs"
	complete := func(w *wrappers.JobRunWrapper, phase v1alpha1.Phase) *v1alpha1.JobRun {
		run := w.Job(job).Ended(phase).Obj()
		run.Status.CompletionTime = &now
		run.Status.Conditions = append(run.Status.Conditions, metav1.Condition{
			Type: v1alpha1.OutcomeCondition(phase), Status: metav1.ConditionTrue, Reason: "R", LastTransitionTime: now,
		})
		return run
	}
	leased := func() *wrappers.JobRunWrapper {
		w := made("a").Leased(1, "5")
		w.Status.StartTime = &metav1.Time{Time: now.Add(-20 * time.Second)}
		return w
	}
	settled := complete(leased(), v1alpha1.PhaseCompleted)
	counted := settled.DeepCopy()
	counted.Status.Coalesced = &v1alpha1.CoalescedTriggers{Count: 1}
	b := newBench()
	b.series = newJobSeries(1000)
	for name, tc := range map[string]struct {
		before, after *v1alpha1.JobRun
		refused       bool
		want          string
		seconds       float64
	}{
		"completes":              {before: leased().Job(job).Obj(), after: settled, want: "Completed", seconds: 20},
		"fails":                  {before: leased().Job(job).Obj(), after: complete(leased(), v1alpha1.PhaseFailed), want: "Failed", seconds: 20},
		"is cancelled in line":   {before: made("a").Job(job).Obj(), after: complete(made("a"), v1alpha1.PhaseCancelled), want: "Cancelled"},
		"its worker reported it": {before: leased().Job(job).Ended(v1alpha1.PhaseFailed).Obj(), after: complete(leased(), v1alpha1.PhaseFailed), want: "Failed", seconds: 20},
		"the write is refused":   {before: leased().Job(job).Obj(), after: settled, refused: true},
		"counts a receipt later": {before: settled, after: counted},
		"is leased":              {before: made("a").Job(job).Obj(), after: leased().Job(job).Obj()},
		"a receipt gets its own": {before: answered("r", "a", "4").Job(job).BoundTo("a").Obj(), after: answered("r", "a", "4").Job(job).BoundTo("a").Settled().Obj()},
	} {
		t.Run(name, func(t *testing.T) {
			b := b
			b.store = wrappers.NewStore(nil, tc.before.DeepCopy())
			b.Client = b.store
			stored := tc.before.DeepCopy()
			if err := b.store.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil {
				t.Fatal(err)
			}
			if tc.refused {
				b.store.Before = func(string, client.Object) error { return errors.New("refused") }
			}
			want, seconds := finishedOf(t, stored.Namespace, job)
			a := b.newAction(homeRequest(stored), decision.NewSnapshot(decision.Observation{}))
			if err := a.writeStatus(t.Context(), stored, tc.after.Status); (err != nil) != tc.refused {
				t.Fatal(err)
			}
			if tc.want != "" {
				want[tc.want]++
			}
			got, after := finishedOf(t, stored.Namespace, job)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("finished (-want +got):\n%s", diff)
			}
			if after-seconds != tc.seconds {
				t.Errorf("took %f s, want %f", after-seconds, tc.seconds)
			}
		})
	}
}

// More jobs than the limit share one series, whatever happens first.
func TestJobSeriesAreBounded(t *testing.T) {
	run := func(namespace, job string) *v1alpha1.JobRun {
		r := makeRun("a").Job(job).Obj()
		r.Namespace = namespace
		return r
	}
	s := newJobSeries(2)
	for range 2 {
		for _, tc := range []struct{ namespace, job, wantNamespace, wantJob string }{
			{"n", "a", "n", "a"}, {"m", "a", "m", "a"}, {"n", "b", "other", "other"}, {"l", "a", "other", "other"}, {"n", "a", "n", "a"},
		} {
			if got := s.of(run(tc.namespace, tc.job)); got != (jobLabels{tc.wantNamespace, tc.wantJob}) {
				t.Errorf("%s/%s has the labels %v", tc.namespace, tc.job, got)
			}
		}
	}
	if got := newJobSeries(0).of(run("n", "a")); got != otherJobs {
		t.Errorf("with a limit of 0 it has the labels %v", got)
	}
}

// A run waits while it is Pending, or has no phase and is not to be a receipt. A job that has no waiting run any more reads 0.
func TestWaitingRuns(t *testing.T) {
	b := newBench(
		makeRun("a").Job("x").Key("k").Leased(1, "5").Obj(), makeRun("b").Job("x").Key("k").Pending().Obj(), makeRun("c").Job("x").Key("k").Created().Obj(),
		makeRun("d").Job("x").Pending().Obj(), answered("e", "b", "4").Job("x").Obj(), makeRun("f").Job("theirs").Key("theirs").Pending().Obj(),
	)
	b.series = newJobSeries(10)
	b.series.of(makeRun("earlier").Job("y").Obj())
	b.Shares = partOf(runkey.Home(makeRun("a").Job("x").Key("k").Obj()), runkey.RunHome("d"))
	registry := prometheus.NewRegistry()
	registry.MustRegister(activeCollector{b.Reconciler})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "jobrun_waiting_runs" {
			continue
		}
		for _, m := range family.GetMetric() { // The labels are sorted: job, namespace.
			got[m.GetLabel()[1].GetValue()+"/"+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{wrappers.Namespace + "/x": 3, wrappers.Namespace + "/y": 0, "other/other": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("waiting (-want +got):\n%s", diff)
	}
}
