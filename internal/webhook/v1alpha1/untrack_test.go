// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// A receipt that no tool applied is stored without managedFields.
func TestCreateUntracksReceipts(t *testing.T) {
	const (
		updates = ", managedFields: [{manager: kubectl-create, operation: Update, apiVersion: batch.jobrun.dev/v1alpha1, fieldsType: FieldsV1, fieldsV1: {'f:spec': {}}}]"
		applies = ", managedFields: [{manager: kubectl, operation: Apply, apiVersion: batch.jobrun.dev/v1alpha1, fieldsType: FieldsV1, fieldsV1: {'f:spec': {}}}]"
	)
	waits := wrappers.MakeRunKey("k").Pending("a").Obj()
	delivered := []client.Object{wrappers.MakeIdempotencyKey("i").Owner("a").Obj(), wrappers.MakeJobRun("a").Key("k").IdempotencyKey("i").Created().Obj()}
	for name, tc := range map[string]struct {
		stored         []client.Object
		metadata, spec string
		want           int
	}{
		"a run":                    {nil, updates, "coalesce: Skip", 1},
		"an absorbed trigger":      {[]client.Object{waits}, updates, "coalesce: Skip", 0},
		"a second delivery":        {delivered, updates, "idempotencyKey: i", 0},
		"applied on the server":    {[]client.Object{waits}, applies, "coalesce: Skip", 1},
		"applied by kubectl":       {[]client.Object{waits}, updates + ", annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}", "coalesce: Skip", 1},
		"without managed fields":   {[]client.Object{waits}, "", "coalesce: Skip", 0},
		"with empty managedFields": {[]client.Object{waits}, ", managedFields: []", "coalesce: Skip", 0},
	} {
		t.Run(name, func(t *testing.T) {
			manifest := "metadata: {name: b" + tc.metadata + "}\nspec: {jobName: job, concurrencyKey: k, " + tc.spec + "}\n"
			run, _ := admitted(t, manifest, newReplica(t, tc.stored...).create(t, manifest))
			if got := len(run.ManagedFields); got != tc.want {
				t.Errorf("%d entries of managedFields, want %d", got, tc.want)
			}
		})
	}
}
