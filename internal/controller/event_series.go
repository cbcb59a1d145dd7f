// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/reference"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/jobrun-dev/jobrun/internal/decision"
)

const (
	// seriesPeriod is the shortest time between two writes of one series.
	seriesPeriod = time.Second
	// seriesFarewell bounds the writes of a process that stops.
	seriesFarewell = 2 * time.Second
)

// eventSeries writes one Event per run for all triggers that have no Event of their own. client-go's recorder of
// events.k8s.io cannot: that API does not let the note of an Event change, and the recorder writes a count minutes late.
// So eventSeries patches count and message of a core Event, as client-go's older recorder does. It needs no memory of what
// it wrote: the name of the Event comes from the run, its count and note from the run's status.
type eventSeries struct {
	writer client.Client
	clock  clock.Clock

	mu sync.Mutex
	// latest has what is not written yet. A later event of a run replaces an earlier one.
	latest map[types.UID]decision.Event
}

func newEventSeries(writer client.Client, c clock.Clock) *eventSeries {
	return &eventSeries{writer: writer, clock: c, latest: map[types.UID]decision.Event{}}
}

func (s *eventSeries) add(e decision.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest[e.Run.UID] = e
}

// Start writes what was added, once per seriesPeriod, until ctx ends.
func (s *eventSeries) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), seriesFarewell)
			defer cancel()
			s.flush(last)
			return nil
		case <-s.clock.After(seriesPeriod):
			s.flush(ctx)
		}
	}
}

func (s *eventSeries) flush(ctx context.Context) {
	for _, e := range s.take() {
		err := s.write(ctx, e)
		switch {
		case err == nil, apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		case apierrors.ReasonForError(err) == metav1.StatusReasonUnknown: // the API server did not answer
			s.putBack(e)
		default:
			log.FromContext(ctx).Error(err, "Could not write an Event", "namespace", e.Run.Namespace, "run", e.Run.Name, "reason", e.Reason)
		}
	}
}

func (s *eventSeries) take() []decision.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := slices.Collect(maps.Values(s.latest))
	clear(s.latest)
	return taken
}

// putBack adds an event again, unless a later one of its run was added meanwhile.
func (s *eventSeries) putBack(e decision.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, isOld := s.latest[e.Run.UID]; !isOld {
		s.latest[e.Run.UID] = e
	}
}

// write patches the Event of the series, or creates it.
func (s *eventSeries) write(ctx context.Context, e decision.Event) error {
	event, err := s.event(e)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{
		"count": event.Count, "message": event.Message, "lastTimestamp": event.LastTimestamp, "related": event.Related,
	})
	if err != nil {
		return err
	}
	known := &corev1.Event{ObjectMeta: event.ObjectMeta}
	err = s.writer.Patch(ctx, known, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsNotFound(err) {
		err = s.writer.Create(ctx, event)
	}
	if err != nil {
		return fmt.Errorf("write Event %s/%s: %w", event.Namespace, event.Name, err)
	}
	return nil
}

// event returns the Event of a series as it is created. e.Related may be nil.
func (s *eventSeries) event(e decision.Event) (*corev1.Event, error) {
	about, err := reference.GetReference(s.writer.Scheme(), e.Run)
	if err != nil {
		return nil, err
	}
	var related *corev1.ObjectReference
	if e.Related != nil {
		if related, err = reference.GetReference(s.writer.Scheme(), e.Related); err != nil {
			return nil, err
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	now := metav1.NewTime(s.clock.Now())
	return &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: e.Run.Namespace, Name: e.Run.Name + "." + string(e.Run.UID)},
		InvolvedObject:      *about,
		Related:             related,
		Type:                e.Type(),
		Reason:              e.Reason,
		Action:              e.Action,
		Message:             e.Note,
		Count:               int32(min(e.Count, math.MaxInt32)),
		FirstTimestamp:      now,
		LastTimestamp:       now,
		Source:              corev1.EventSource{Component: controllerName, Host: host},
		ReportingController: controllerName,
		ReportingInstance:   controllerName + "-" + host,
	}, nil
}
