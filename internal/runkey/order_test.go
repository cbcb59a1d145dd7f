package runkey_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func TestOrder(t *testing.T) {
	age := func(name string, seconds int) *v1alpha1.JobRun { return wrappers.MakeJobRun(name).Age(seconds).Obj() }
	for name, tc := range map[string]struct {
		runs []*v1alpha1.JobRun
		want []string
	}{
		"by time":                    {[]*v1alpha1.JobRun{age("a", 2), age("b", 1), age("c", 0)}, []string{"c", "b", "a"}},
		"by name where times tie":    {[]*v1alpha1.JobRun{age("c", 1), age("a", 1), age("b", 1)}, []string{"a", "b", "c"}},
		"time goes before the name":  {[]*v1alpha1.JobRun{age("a", 2), age("c", 1), age("b", 1)}, []string{"b", "c", "a"}},
		"names are compared as text": {[]*v1alpha1.JobRun{age("a-9", 1), age("a-10", 1)}, []string{"a-10", "a-9"}},
	} {
		t.Run(name, func(t *testing.T) {
			slices.SortFunc(tc.runs, runkey.CompareAge)
			var got []string
			for i, run := range tc.runs {
				got = append(got, run.Name)
				for _, later := range tc.runs[i+1:] {
					if !runkey.Older(run, later) || runkey.Older(later, run) {
						t.Errorf("%s and %s are not in one order", run.Name, later.Name)
					}
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
	if a := age("a", 1); runkey.Older(a, a) {
		t.Error("a run is older than itself")
	}
}
