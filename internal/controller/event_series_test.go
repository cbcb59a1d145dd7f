// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// seriesOf returns the event of a series that stands for count triggers, of which the receipt is the latest.
func seriesOf(count int64, receipt string) decision.Event {
	return decision.Event{
		Run: made("a").Obj(), Related: answered(receipt, "a", "10").Obj(), Reason: decision.EventCoalesced,
		Action: decision.ActionCoalesced, Count: count, Note: "latest: " + receipt,
	}
}

func newSeriesBench() (*eventSeries, *wrappers.Store, *clocktesting.FakeClock) {
	store, clock := wrappers.NewStore(nil), clocktesting.NewFakeClock(now.Time)
	return newEventSeries(store, clock), store, clock
}

// storedEvents returns all Events.
func storedEvents(t *testing.T, store client.Reader) []corev1.Event {
	t.Helper()
	list := &corev1.EventList{}
	if err := store.List(context.Background(), list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func TestSeriesIsOneEvent(t *testing.T) {
	series, store, clock := newSeriesBench()
	began := clock.Now()
	series.add(seriesOf(1, "r6"))
	series.add(seriesOf(2, "r7"))
	series.flush(t.Context())
	clock.Step(time.Minute)
	series.add(seriesOf(195, "r200"))
	series.flush(t.Context())
	series.flush(t.Context())

	all := storedEvents(t, store)
	if len(all) != 1 {
		t.Fatalf("%d Events, want 1", len(all))
	}
	got := all[0]
	run := made("a").Obj()
	want := corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: run.Namespace, Name: "a." + string(run.UID)},
		Type:                corev1.EventTypeNormal,
		Reason:              "RunCoalesced",
		Action:              "run:coalesced",
		Message:             "latest: r200",
		Count:               195,
		ReportingController: "jobrun",
	}
	related := got.Related.Name
	if !got.FirstTimestamp.Equal(&metav1.Time{Time: began}) || !got.LastTimestamp.Equal(&metav1.Time{Time: clock.Now()}) ||
		got.InvolvedObject.UID != run.UID || related != "r200" {
		t.Errorf("Event from %s to %s about %s, related %s", got.FirstTimestamp, got.LastTimestamp, got.InvolvedObject.UID, related)
	}
	got.ResourceVersion, got.UID, got.ReportingInstance = "", "", ""
	got.FirstTimestamp, got.LastTimestamp, got.Source = metav1.Time{}, metav1.Time{}, corev1.EventSource{}
	got.InvolvedObject, got.Related = corev1.ObjectReference{}, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Event (-want +got):\n%s", diff)
	}
}

func TestSeriesAfterFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want int
	}{
		"no answer":                {errors.New("connection refused"), 1},
		"refused":                  {apierrors.NewForbidden(corev1.Resource("events"), "a", nil), 0},
		"the namespace is emptied": {terminating(), 0},
	} {
		t.Run(name, func(t *testing.T) {
			series, store, _ := newSeriesBench()
			series.add(seriesOf(1, "r6"))
			store.Before = func(string, client.Object) error { return tc.err }
			series.flush(t.Context())
			store.Before = nil
			series.flush(t.Context())
			if got := len(storedEvents(t, store)); got != tc.want {
				t.Errorf("%d Events after the next flush, want %d", got, tc.want)
			}
		})
	}
}

func terminating() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}},
	}}
}

// An event that could not be written does not replace a later one.
func TestSeriesKeepsTheLatest(t *testing.T) {
	series, store, _ := newSeriesBench()
	series.add(seriesOf(1, "r6"))
	store.Before = func(string, client.Object) error {
		series.add(seriesOf(2, "r7"))
		return errors.New("connection refused")
	}
	series.flush(t.Context())
	store.Before = nil
	series.flush(t.Context())
	if all := storedEvents(t, store); len(all) != 1 || all[0].Count != 2 {
		t.Errorf("Events %v, want one with count 2", all)
	}
}

func TestSeriesWritesWhatIsLeftWhenItStops(t *testing.T) {
	series, store, _ := newSeriesBench()
	series.add(seriesOf(1, "r6"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := series.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got := len(storedEvents(t, store)); got != 1 {
		t.Errorf("%d Events, want 1", got)
	}
}
