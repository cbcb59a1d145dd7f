// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// Each rule that a JobRun of an earlier version may break names its field.
func TestCheckStored(t *testing.T) {
	for field, broken := range map[string]func(*v1alpha1.JobRun){
		"":                    func(*v1alpha1.JobRun) {},
		"spec.concurrencyKey": func(r *v1alpha1.JobRun) { r.Spec.ConcurrencyKey = "a\tb" },
		"spec.idempotencyKey": func(r *v1alpha1.JobRun) { r.Spec.IdempotencyKey = "a\x00b" },
		"spec.batch.id": func(r *v1alpha1.JobRun) {
			r.Spec.Batch = &v1alpha1.BatchMember{ID: "a\nb", Size: 1, Leader: r.Name}
		},
		"spec.input": func(r *v1alpha1.JobRun) {
			r.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(nested(65))}
		},
		"metadata.labels": func(r *v1alpha1.JobRun) {
			for i := range 300 {
				r.Labels[fmt.Sprint("label-", i)] = strings.Repeat("x", 60)
			}
		},
	} {
		run := wrappers.MakeKeyedRun("a").Label("team", "a").Obj()
		run.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(nested(64))}
		broken(run)
		before := run.DeepCopy()
		errs, err := webhook.CheckStored(t.Context(), run)
		switch {
		case err != nil:
			t.Fatal(err)
		case field == "" && len(errs) > 0, field != "" && (len(errs) != 1 || errs[0].Field != field):
			t.Errorf("errors %v, want one about %q", errs, field)
		case run.Spec.Template == nil || before.Spec.Template == nil:
			t.Error("the JobRun has no template any more")
		}
	}
}
