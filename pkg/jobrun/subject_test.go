// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// A subject is gone once another JobRun has its name.
func TestSubjectTakesAChange(t *testing.T) {
	run := func(name string, uid types.UID) *v1alpha1.JobRun {
		return &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Name: name, UID: uid}}
	}
	for name, tc := range map[string]struct {
		change change
		want   presence
	}{
		"its own":                         {change{run: run("a", "1")}, present},
		"its deletion":                    {change{run: run("a", "1"), deleted: true}, deleted},
		"of another JobRun":               {change{run: run("b", "2")}, present},
		"of another one of its name":      {change{run: run("a", "2")}, vanished},
		"the deletion of one of its name": {change{run: run("a", "0"), deleted: true}, present},
		"a list with another of its name": {change{listed: true, all: []v1alpha1.JobRun{*run("a", "2")}}, vanished},
		"a list with it":                  {change{listed: true, all: []v1alpha1.JobRun{*run("a", "1")}}, present},
	} {
		if got := subjectOf(run("a", "1")).take(tc.change); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}
