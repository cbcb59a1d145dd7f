// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestWrites(t *testing.T) {
	runKeys := v1alpha1.GroupVersion.WithResource("runkeys").GroupResource()
	forbidden := apierrors.NewForbidden(runKeys, "c-1", nil)
	terminating := apierrors.NewForbidden(runKeys, "c-1", nil)
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	type write struct {
		at  time.Duration
		err error
	}
	tests := map[string]struct {
		writes []write
		at     time.Duration
		fails  bool
	}{
		"none":                             {},
		"one failure":                      {writes: []write{{0, forbidden}}, at: failingFor},
		"failures in a row":                {writes: []write{{0, forbidden}, {failingFor, forbidden}}, at: failingFor, fails: true},
		"a success in between":             {writes: []write{{0, forbidden}, {1, nil}, {failingFor, forbidden}}, at: failingFor},
		"a lost race in between":           {writes: []write{{0, forbidden}, {1, apierrors.NewConflict(runKeys, "c-1", nil)}, {failingFor, forbidden}}, at: failingFor},
		"a namespace that goes":            {writes: []write{{0, terminating}, {failingFor, terminating}}, at: failingFor},
		"a caller that leaves":             {writes: []write{{0, context.Canceled}, {failingFor, context.Canceled}}, at: failingFor},
		"failures, then nothing for long":  {writes: []write{{0, forbidden}, {failingFor, forbidden}}, at: failingFor + 2*forgetAfter},
		"two failures that are far apart":  {writes: []write{{0, forbidden}, {2 * forgetAfter, forbidden}}, at: 2 * forgetAfter},
		"others say nothing of a failure":  {writes: []write{{0, forbidden}, {1, terminating}, {failingFor, forbidden}}, at: failingFor, fails: true},
		"an API server that answers never": {writes: []write{{0, context.DeadlineExceeded}, {failingFor, context.DeadlineExceeded}}, at: failingFor, fails: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			w := &writes{}
			for _, write := range test.writes {
				if got := w.note(start.Add(write.at), write.err); !errors.Is(got, write.err) {
					t.Errorf("returns %v, want %v", got, write.err)
				}
			}
			err := w.check(start.Add(test.at))
			if (err != nil) != test.fails || err != nil && !strings.HasPrefix(err.Error(), "no RunKey can be written since 2026-01-01T00:00:00Z: ") {
				t.Errorf("got %v", err)
			}
		})
	}
}
