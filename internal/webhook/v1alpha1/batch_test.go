// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func TestCreateOfAMember(t *testing.T) {
	member := func(name string, size int32, leader string) *wrappers.JobRunWrapper {
		w := wrappers.MakeJobRun(name)
		w.Obj().Spec.Batch = &v1alpha1.BatchMember{ID: "nightly", Size: size, Leader: leader}
		return w
	}
	started, withdrawn := v1alpha1.BatchStarted, v1alpha1.BatchWithdrawn
	tests := map[string]struct {
		stored []*wrappers.JobRunWrapper
		name   string // of the new JobRun
		want   string // part of the refusal
	}{
		"the leader":                         {name: "a"},
		"a member":                           {stored: []*wrappers.JobRunWrapper{member("a", 2, "a")}, name: "b"},
		"a member before its leader":         {name: "b"},
		"a leader after its member":          {stored: []*wrappers.JobRunWrapper{member("b", 2, "a")}, name: "a"},
		"a member in place of one that ends": {stored: []*wrappers.JobRunWrapper{member("a", 2, "a"), member("c", 2, "a").Cancel()}, name: "b"},
		"a member of a withdrawn batch":      {stored: []*wrappers.JobRunWrapper{member("a", 2, "a").Decided(withdrawn)}, name: "b"},
		"one too many": {
			stored: []*wrappers.JobRunWrapper{member("a", 2, "a"), member("c", 2, "a")}, name: "b",
			want: "spec.batch.size: Invalid value: 2: the batch has all of its members",
		},
		"one too late": {
			stored: []*wrappers.JobRunWrapper{member("a", 2, "a").Decided(started)}, name: "b",
			want: "spec.batch.size: Invalid value: 2: the batch has started with all of its members",
		},
		"another size": {
			stored: []*wrappers.JobRunWrapper{member("a", 3, "a")}, name: "b",
			want: "spec.batch.size: Invalid value: 2: JobRun a says that the batch has 3 members",
		},
		"the id of another leader": {
			stored: []*wrappers.JobRunWrapper{member("x", 2, "x")}, name: "b",
			want: `spec.batch.id: Invalid value: "nightly": JobRun x has this id in the batch of x; use each id for one batch only`,
		},
		"the id of an earlier batch": {
			stored: []*wrappers.JobRunWrapper{member("c", 2, "a").Decided(started)}, name: "a",
			want: `spec.batch.id: Invalid value: "nightly": JobRun c had this id in an earlier batch; use each id for one batch only`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stored []client.Object
			for _, w := range test.stored {
				stored = append(stored, w.Obj())
			}
			response := newReplica(t, stored...).create(t, fmt.Sprintf(`
metadata: {name: %s}
spec: {jobName: sync, batch: {id: nightly, size: 2, leader: a}}`, test.name))
			switch {
			case test.want == "" && !response.Allowed:
				t.Errorf("refused: %s", response.Result.Message)
			case test.want != "" && (response.Allowed || !strings.Contains(response.Result.Message, test.want)):
				t.Errorf("got %+v, want %q", response.Result, test.want)
			}
		})
	}
}
