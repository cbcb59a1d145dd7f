// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestInherited(t *testing.T) {
	for name, want := range map[string]struct{ job, pods bool }{
		"team":                      {true, true},
		"example.com/cost-center":   {true, true},
		"app.kubernetes.io/name":    {true, true},
		"app.kubernetes.io/part-of": {true, true},
		"cluster-autoscaler.kubernetes.io/safe-to-evict": {true, true},
		"prometheus.io/scrape":                           {true, true},
		"notargocd.argoproj.io.example.com/x":            {true, true},
		"myhelm.sh/x":                                    {true, true},
		"helm.sh":                                        {true, true}, // a name without a domain
		"kueue.x-k8s.io/queue-name":                      {true, false},
		"kueue.x-k8s.io/priority-class":                  {true, false},
		"velero.io/exclude-from-backup":                  {true, true},
		"backup.velero.io/backup-volumes":                {true, true},

		"batch.jobrun.dev/job-name":                        {},
		"batch.jobrun.dev/disposition":                     {},
		"batch.jobrun.dev/trigger":                         {},
		"batch.jobrun.dev/mine":                            {},
		"job-name":                                         {},
		"controller-uid":                                   {},
		"batch.kubernetes.io/job-name":                     {},
		"kubectl.kubernetes.io/last-applied-configuration": {},
		"kubectl.kubernetes.io/default-container":          {},
		"applyset.kubernetes.io/part-of":                   {},
		"config.kubernetes.io/origin":                      {},
		"config.k8s.io/owning-inventory":                   {},
		"app.kubernetes.io/instance":                       {},
		"app.kubernetes.io/managed-by":                     {},
		"argocd.argoproj.io/tracking-id":                   {},
		"argocd.argoproj.io/hook":                          {},
		"helm.sh/hook":                                     {},
		"helm.sh/chart":                                    {},
		"meta.helm.sh/release-name":                        {},
		"kustomize.toolkit.fluxcd.io/name":                 {},
		"helm.toolkit.fluxcd.io/name":                      {},
		"reconcile.fluxcd.io/requestedAt":                  {},
		"kapp.k14s.io/app":                                 {},
		"objectset.rio.cattle.io/hash":                     {},
		"configmanagement.gke.io/managed":                  {},
		"velero.io/restore-name":                           {},
		"velero.io/backup-name":                            {},
	} {
		own := map[string]string{name: "x"}
		if _, got := Inherited(own)[name]; got != want.job {
			t.Errorf("the Job gets %s: %t", name, got)
		}
		if _, got := inheritedByPods(own)[name]; got != want.pods {
			t.Errorf("the Pods get %s: %t", name, got)
		}
	}
	if Inherited(nil) != nil || Inherited(map[string]string{"job-name": "x"}) != nil {
		t.Error("an empty map is kept")
	}
}

// What the template says wins over the JobRun, and the operator's own wins over both.
func TestNewJobInherits(t *testing.T) {
	both := func(values ...string) map[string]string {
		all := map[string]string{}
		for i := 0; i < len(values); i += 2 {
			all[values[i]] = values[i+1]
		}
		return all
	}
	var template batchv1.JobTemplateSpec
	template.Labels, template.Annotations = both("b", "job"), both("b", "job")
	template.Spec.Template.Labels, template.Spec.Template.Annotations = both("c", "pod"), both("c", "pod")
	run := made("a").TemplateObj(template).Obj()
	run.Labels = both("a", "run", "b", "run", "c", "run", "kueue.x-k8s.io/queue-name", "q", v1alpha1.LabelRun, "forged", "helm.sh/chart", "h")
	run.Annotations = both("a", "run", "b", "run", "c", "run", v1alpha1.AnnotationToken, "forged", "argocd.argoproj.io/tracking-id", "t")
	before := run.DeepCopy()

	job := NewJob(run, 3, "17")
	ours := labelled(nil, run)
	for what, tc := range map[string]struct{ want, got map[string]string }{
		"labels of the Job":       {merged(both("a", "run", "b", "job", "c", "run", "kueue.x-k8s.io/queue-name", "q"), ours), job.Labels},
		"labels of the Pods":      {merged(both("a", "run", "b", "run", "c", "pod"), ours), job.Spec.Template.Labels},
		"annotations of the Job":  {merged(both("a", "run", "b", "job", "c", "run"), annotationsOf(run, 3)), job.Annotations},
		"annotations of the Pods": {merged(both("a", "run", "b", "run", "c", "pod"), annotationsOf(run, 3)), job.Spec.Template.Annotations},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	if diff := cmp.Diff(before, run); diff != "" {
		t.Errorf("the run changed:\n%s", diff)
	}
}
