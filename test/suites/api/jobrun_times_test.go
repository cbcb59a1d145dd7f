// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// timeFields maps the field of each time to a status that sets it.
var timeFields = map[string]string{
	"status.lease.acquireTime":                "{lease: {generation: 1, acquireTime: %q}}",
	"status.lease.renewTime":                  "{lease: {generation: 1, renewTime: %q}}",
	"status.startTime":                        "{startTime: %q}",
	"status.completionTime":                   "{completionTime: %q}",
	"status.coalesced.recent[0].time":         "{coalesced: {count: 1, recent: [{name: r, uid: u, time: %q}]}}",
	"status.conditions[0].lastTransitionTime": "{conditions: [{type: Complete, status: 'True', reason: R, message: '', lastTransitionTime: %q}]}",
}

// A stored time that Go cannot read would break every typed watch and list of JobRuns, also the operator's. A time
// that Go cannot write again would break every write of the status. So Go must be able to read and to write every
// time that the schema accepts.
func TestStoredTimesCanBeRead(t *testing.T) {
	for field, status := range timeFields {
		for _, value := range []string{
			"2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123Z", "2026-01-01T00:00:00.123456Z", "2026-01-01T00:00:00.123456789Z",
			"2026-01-01T00:00:00.123456+02:00", "2026-01-01T00:00:00+02:00", "2026-01-01t00:00:00z", "2026-01-01T00:00:00.123456z",
			"2026-01-01t00:00:00.123456Z", "2026-01-01T00:00:00x123456Z", "2026-01-01T00:00:00,123456Z", "2026-01-01T00:00:00.123456+99:99",
			"2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+23:60", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z",
			"2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "0000-01-01T00:00:00Z", "",
			"0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59.000000-01:00",
		} {
			t.Run(field+" "+value, func(t *testing.T) {
				t.Parallel()
				run := create(t, "JobRun", "spec: {jobName: a}")
				if err := patchStatus(t, run, fmt.Sprintf(status, value)); err != nil {
					if !apierrors.IsInvalid(err) {
						t.Errorf("refused: %v", err)
					}
					return
				}
				read := &v1alpha1.JobRun{}
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(run.Object, read); err != nil {
					t.Fatalf("stored, and cannot be read: %v", err)
				}
				if err := newClient(t).Status().Update(t.Context(), read); err != nil {
					t.Errorf("read, and cannot be written: %v", err)
				}
				if now := typed(t, run); !reflect.DeepEqual(now.Status, read.Status) {
					t.Errorf("it became %+v", now.Status)
				}
			})
		}
	}
}

func TestTimes(t *testing.T) {
	const seconds, micros = "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z"
	for field, status := range timeFields {
		accepted, refused := seconds, "2026-01-01t00:00:00z"
		if field == "status.lease.acquireTime" || field == "status.lease.renewTime" {
			accepted, refused = micros, "2026-01-01T00:00:00.123Z"
		}
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			refusal{}.check(t, patchStatus(t, create(t, "JobRun", "spec: {jobName: a}"), fmt.Sprintf(status, accepted)))
			refusal{strings.TrimSuffix(field, ".lastTransitionTime"), ""}.check(t, patchStatus(t, create(t, "JobRun", "spec: {jobName: a}"), fmt.Sprintf(status, refused)))
		})
	}
}
