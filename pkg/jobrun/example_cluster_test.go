package jobrun_test

import (
	"context"
	"errors"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// newCluster plays a cluster with the operator, for one key: the first run waits
// until somebody watches, and then completes.
func newCluster() client.WithWatch {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	byField := func(get func(*v1alpha1.JobRun) string) client.IndexerFunc {
		return func(o client.Object) []string { return []string{get(o.(*v1alpha1.JobRun))} }
	}
	run := &v1alpha1.JobRun{}
	return fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(run).
		WithIndex(run, "spec.jobName", byField(func(r *v1alpha1.JobRun) string { return r.Spec.JobName })).
		WithIndex(run, "spec.concurrencyKey", byField(func(r *v1alpha1.JobRun) string { return r.Spec.ConcurrencyKey })).
		WithInterceptorFuncs(interceptor.Funcs{Create: admit, Watch: execute}).
		Build()
}

// admit plays the webhook.
func admit(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	var waiting v1alpha1.JobRunList
	if err := c.List(ctx, &waiting); err != nil {
		return err
	}
	run := o.(*v1alpha1.JobRun)
	run.Spec.Admission = &v1alpha1.Admission{
		Disposition: v1alpha1.DispositionCreated, RunName: run.Name, RunToken: run.Name, Token: run.Name,
	}
	if len(waiting.Items) > 0 {
		first := waiting.Items[0].Name
		if run.Spec.Coalesce == "" {
			err := apierrors.NewConflict(schema.GroupResource{Resource: "jobruns"}, run.Name, errors.New("run "+first+" is pending"))
			err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: "PendingRun", Message: first}}
			return err
		}
		run.Spec.Admission.Disposition = v1alpha1.DispositionCoalesced
		run.Spec.Admission.RunName, run.Spec.Admission.RunToken = first, first
	}
	return c.Create(ctx, run, opts...)
}

// execute plays a worker.
func execute(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	w, err := c.Watch(ctx, list, opts...)
	if err != nil {
		return nil, err
	}
	var all v1alpha1.JobRunList
	if err := c.List(ctx, &all); err != nil {
		return nil, err
	}
	for i := range all.Items {
		run := &all.Items[i]
		if run.Spec.Batch != nil {
			run.Status.Batch = &v1alpha1.BatchStatus{Decision: v1alpha1.BatchStarted}
		}
		run.Status.Progress = &v1alpha1.Progress{Generation: 1, Message: "halfway"}
		if err := c.Status().Update(ctx, run); err != nil {
			return nil, err
		}
		run.Status.Phase = v1alpha1.PhaseCompleted
		run.Status.Output = &apiextensionsv1.JSON{Raw: []byte(`{"users":42}`)}
		if err := c.Status().Update(ctx, run); err != nil {
			return nil, err
		}
	}
	return w, nil
}
