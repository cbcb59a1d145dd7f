// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// version returns a version of a run of the key k.
func version(name string, phase v1alpha1.Phase, holder string, generation int64) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{}
	run.Name, run.UID, run.Namespace, run.ResourceVersion = name, types.UID(name), "n", "7"
	run.Spec.JobName, run.Spec.ConcurrencyKey = "j", "k"
	run.Status.Phase = phase
	if generation > 0 {
		run.Status.Lease = &v1alpha1.RunLease{HolderIdentity: holder, Generation: generation}
	}
	return run
}

const (
	pending   = v1alpha1.PhasePending
	leased    = v1alpha1.PhaseLeased
	completed = v1alpha1.PhaseCompleted
	failed    = v1alpha1.PhaseFailed
)

func TestStored(t *testing.T) {
	for name, test := range map[string]struct {
		versions []*v1alpha1.JobRun
		want     string
	}{
		"one after the other": {[]*v1alpha1.JobRun{
			version("a", pending, "", 0), version("a", leased, "w1", 1), version("b", pending, "", 0),
			version("a", leased, "", 2), version("a", pending, "", 2), version("a", leased, "w2", 3),
			version("a", completed, "w2", 3), version("b", leased, "w1", 1), version("b", failed, "w1", 1),
		}, ""},
		"two holders of a key": {[]*v1alpha1.JobRun{
			version("a", leased, "w1", 1), version("b", leased, "w2", 1),
		}, "w2 became its holder while w1 held the key for run a"},
		"two holders of a generation": {[]*v1alpha1.JobRun{
			version("a", leased, "w1", 1), version("a", pending, "", 1), version("a", leased, "w2", 1),
		}, "the holder of generation 1 changed from w1 to w2"},
		"a generation that falls": {[]*v1alpha1.JobRun{
			version("a", leased, "w1", 3), version("a", pending, "", 2),
		}, "the generation fell from 3 to 2"},
		"a run that ends twice": {[]*v1alpha1.JobRun{
			version("a", completed, "w1", 1), version("a", failed, "w1", 1),
		}, "it was Completed and became Failed"},
		"a run that goes on after its end": {[]*v1alpha1.JobRun{
			version("a", completed, "w1", 1), version("a", leased, "w1", 2),
		}, "it was Completed and became Leased"},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStored()
			for i, run := range test.versions {
				s.Saw(run, int64(i))
			}
			got := strings.Join(s.Violations(), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestARunThatIsDeletedFreesItsKey(t *testing.T) {
	s := NewStored()
	s.Saw(version("a", leased, "w1", 1), 1)
	s.Deleted(version("a", leased, "w1", 1), 2)
	s.Saw(version("b", leased, "w2", 1), 3)
	if len(s.Violations()) > 0 {
		t.Error(s.Violations())
	}
	want := []Operation{{Process: Observer, Kind: Ended, Key: "n/j/k", Run: "a", Generation: 1, Return: 2, Outcome: OK}}
	if diff := cmp.Diff(want, s.Operations()); diff != "" {
		t.Error(diff)
	}
}

func TestStoredOperations(t *testing.T) {
	s := NewStored()
	for i, run := range []*v1alpha1.JobRun{
		version("a", pending, "", 0), version("a", leased, "w1", 1), version("a", leased, "", 2), version("a", pending, "", 2),
		version("a", leased, "w2", 3), version("a", completed, "w2", 3), version("a", completed, "w2", 3),
		version("b", pending, "", 0), version("b", v1alpha1.PhaseCancelled, "", 0),
	} {
		s.Saw(run, int64(i))
	}
	seen := func(kind Kind, run string, generation, at int64) Operation {
		return Operation{Process: Observer, Kind: kind, Key: "n/j/k", Run: run, Generation: generation, Return: at, Outcome: OK}
	}
	want := []Operation{seen(Released, "a", 1, 2), seen(Ended, "a", 3, 5), seen(Ended, "b", 0, 8)}
	if diff := cmp.Diff(want, s.Operations()); diff != "" {
		t.Error(diff)
	}
	claims := []Operation{
		{Process: "w1", Kind: Claim, Key: "n/j/k", Run: "a", Generation: 1, Holder: "w1", Return: 1, Outcome: OK},
		{Process: "w2", Kind: Claim, Key: "n/j/k", Run: "a", Generation: 3, Holder: "w2", Call: 3, Return: 4, Outcome: OK},
		{Process: "w2", Kind: Complete, Key: "n/j/k", Run: "a", Generation: 3, Holder: "w2", Call: 4, Return: 5, Outcome: OK},
	}
	if err := Check(Lease(), append(claims, s.Operations()...), time.Minute); err != nil {
		t.Error(err)
	}
}
