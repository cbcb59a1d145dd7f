// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun_test

import (
	"context"
	"errors"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// cluster simulates a cluster with the operator, for one key. The first run waits until a watch begins, and then completes.
type cluster struct{ *apiserver.Server }

func newCluster() client.WithWatch {
	c := cluster{apiserver.New()}
	c.OnCreate = c.admit
	return c
}

// admit simulates the webhook.
func (c cluster) admit(run *v1alpha1.JobRun, store func() error) error {
	var waiting v1alpha1.JobRunList
	if err := c.List(context.Background(), &waiting); err != nil {
		return err
	}
	if len(waiting.Items) > 0 {
		first := waiting.Items[0].Name
		if run.Spec.Coalesce == "" {
			err := apierrors.NewConflict(apiserver.JobRuns, run.Name, errors.New("run "+first+" is pending"))
			err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: "PendingRun", Message: first}}
			return err
		}
		run.Spec.Admission = &v1alpha1.Admission{
			Disposition: v1alpha1.DispositionCoalesced, RunName: first, RunToken: first, Token: run.Name,
		}
	}
	return store()
}

// Watch also simulates a worker.
func (c cluster) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	var all v1alpha1.JobRunList
	if err := c.List(ctx, &all); err != nil {
		return nil, err
	}
	for _, run := range all.Items {
		c.Change(run.Name, func(run *v1alpha1.JobRun) {
			if run.Spec.Batch != nil {
				run.Status.Batch = &v1alpha1.BatchStatus{Decision: v1alpha1.BatchStarted}
			}
			run.Status.Progress = &v1alpha1.Progress{Generation: 1, Message: "halfway"}
		})
		c.Change(run.Name, func(run *v1alpha1.JobRun) {
			run.Status.Phase = v1alpha1.PhaseCompleted
			run.Status.Output = &apiextensionsv1.JSON{Raw: []byte(`{"users":42}`)}
		})
	}
	return c.Server.Watch(ctx, list, opts...)
}
