// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	webhookv1alpha1 "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// envtest loads the CRDs and the webhook configuration as they are. The API server calls the webhook for the changes
// that it guards, and for no others.
func TestWebhookIsCalledForWhatItGuards(t *testing.T) {
	g, ctx := NewWithT(t), t.Context()
	var calls atomic.Int32
	config := startEnvtest(t, &calls)
	c, operator := newClient(t, config), newClient(t, controlplane.AsOperator(config))

	run := newRun("a")
	g.Expect(c.Create(ctx, run)).To(Succeed())
	g.Expect(calls.Swap(0)).To(BeNumerically(">", 0), "create")

	update := func(change func()) func() error {
		return func() error { change(); return c.Update(ctx, run) }
	}
	tests := []struct {
		name string
		do   func() error
		want bool
	}{
		{"nothing", update(func() {}), false},
		{"a label of the user's", update(func() { metav1.SetMetaDataLabel(&run.ObjectMeta, "team", "a") }), false},
		{"an annotation", update(func() { metav1.SetMetaDataAnnotation(&run.ObjectMeta, "note", "b") }), false},
		{"the status", func() error { run.Status.Phase = v1alpha1.PhasePending; return c.Status().Update(ctx, run) }, false},
		{"an output", func() error {
			run.Status.Output = &apiextensionsv1.JSON{Raw: []byte(`{"n":1}`)}
			return c.Status().Update(ctx, run)
		}, true},
		{"the status beside an output", func() error { run.Status.Error = "waits"; return c.Status().Update(ctx, run) }, false},
		{"no output any more", func() error { run.Status.Output = nil; return c.Status().Update(ctx, run) }, true},
		{"an output by the operator", func() error {
			run.Status.Output = &apiextensionsv1.JSON{Raw: []byte(`2`)}
			return operator.Status().Update(ctx, run)
		}, false},
		{"a stamped label added", update(func() { run.Labels[v1alpha1.LabelJobName] = "x" }), true},
		{"a stamped label changed", update(func() { run.Labels[v1alpha1.LabelJobName] = "y" }), true},
		{"a stamped label removed", update(func() { delete(run.Labels, v1alpha1.LabelJobName) }), true},
		{"the key's label", update(func() { run.Labels[v1alpha1.LabelKey] = "x" }), true},
		{"the disposition's label", update(func() { run.Labels[v1alpha1.LabelDisposition] = "x" }), true},
		{"all labels removed", update(func() { run.Labels = nil }), true},
		{"cancel", update(func() { run.Spec.Cancel = new(true) }), true},
		{"deletion", func() error { return c.Delete(ctx, run) }, false},
	}
	for _, test := range tests {
		waitForWatchCache(t, c, run)
		g.Expect(test.do()).To(Succeed(), test.name)
		asked := calls.Swap(0) > 0
		g.Expect(asked).To(Equal(test.want), test.name)
	}
	testLargeRun(t, c)
	g.Expect(calls.Swap(0)).To(BeNumerically(">=", 2), "create and cancel of a large run")
	testFence(t, c, &calls)
}

// testFence shows that the API server calls the fence for each create of a Job of a run, and for no other request.
func testFence(t *testing.T, c client.Client, calls *atomic.Int32) {
	g, ctx := NewWithT(t), t.Context()
	foreign, ofRun, cronJob := newJob("foreign"), newJob("a-1"), newCronJob("nightly")
	ofRun.Labels = map[string]string{v1alpha1.LabelRun: ""} // The label counts, whatever its value.
	cronJob.Labels, cronJob.Spec.JobTemplate.Labels = map[string]string{v1alpha1.LabelRun: "a"}, map[string]string{v1alpha1.LabelRun: "a"}
	tests := []struct {
		name string
		do   func() error
		want int32
	}{
		{"a foreign Job", func() error { return c.Create(ctx, foreign) }, 0},
		{"a foreign Job gets the label", func() error { foreign.Labels = ofRun.Labels; return c.Update(ctx, foreign) }, 0},
		{"a Job of a run", func() error { return c.Create(ctx, ofRun) }, 1},
		{"its update", func() error { ofRun.Annotations = map[string]string{"note": "b"}; return c.Update(ctx, ofRun) }, 0},
		{"its status", func() error { ofRun.Status.Active = 1; return c.Status().Update(ctx, ofRun) }, 0},
		{"its deletion", func() error { return c.Delete(ctx, ofRun) }, 0},
		{"a dry run", func() error { return c.Create(ctx, copyOf(ofRun), client.DryRunAll) }, 1},
		{"a CronJob", func() error { return c.Create(ctx, cronJob) }, 0},
	}
	for _, test := range tests {
		g.Expect(test.do()).To(Succeed(), test.name)
		g.Expect(calls.Swap(0)).To(Equal(test.want), test.name)
	}
}

func newJob(name string) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Image: "image"}},
		}}},
	}
}

// copyOf returns a Job with the labels of another one.
func copyOf(job *batchv1.Job) *batchv1.Job {
	another := newJob("copy")
	another.Labels = job.Labels
	return another
}

func newCronJob(name string) *batchv1.CronJob {
	return &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
		Spec:       batchv1.CronJobSpec{Schedule: "0 0 * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: newJob("").Spec}},
	}
}

// waitForWatchCache returns when the API server's watch cache holds run as it is. An update takes its old object from
// there, and asks the webhook about that one even if the store's is newer.
func waitForWatchCache(t *testing.T, c client.Client, run *v1alpha1.JobRun) {
	t.Helper()
	notOlder := &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: run.ResourceVersion}}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(run), &v1alpha1.JobRun{}, notOlder); err != nil {
		t.Fatal(err)
	}
}

// testLargeRun shows that the comparison of a large run stays within the cost limit of match conditions.
func testLargeRun(t *testing.T, c client.Client) {
	g, ctx := NewWithT(t), t.Context()
	values := make([]string, 4000)
	for i := range values {
		values[i] = strings.Repeat("x", 10)
	}
	input, err := json.Marshal(values)
	g.Expect(err).NotTo(HaveOccurred())
	run := newRun("large")
	run.Spec.Input = &apiextensionsv1.JSON{Raw: input}
	g.Expect(c.Create(ctx, run)).To(Succeed())
	run.Spec.Cancel = new(true)
	g.Expect(c.Update(ctx, run)).To(Succeed())
}

func newRun(name string) *v1alpha1.JobRun {
	return &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
		Spec:       v1alpha1.JobRunSpec{JobName: "sync"},
	}
}

// startEnvtest starts an API server with the CRDs and the webhook configuration of config/, and a webhook that counts
// its calls.
func startEnvtest(t *testing.T, calls *atomic.Int32) *rest.Config {
	t.Helper()
	environment := &envtest.Environment{
		Scheme:                scheme,
		BinaryAssetsDirectory: assets(t),
		CRDDirectoryPaths:     []string{filepath.Join(root, "config/crd/bases")},
		ErrorIfCRDPathMissing: true,
		WebhookInstallOptions: envtest.WebhookInstallOptions{Paths: []string{filepath.Join(root, "config/webhook/manifests.yaml")}},
	}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	serveWebhook(t, environment.WebhookInstallOptions, admission.HandlerFunc(func(context.Context, admission.Request) admission.Response {
		calls.Add(1)
		return admission.Allowed("")
	}))
	return config
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serveWebhook(t *testing.T, o envtest.WebhookInstallOptions, handler admission.Handler) {
	t.Helper()
	server := webhook.NewServer(webhook.Options{Host: o.LocalServingHost, Port: o.LocalServingPort, CertDir: o.LocalServingCertDir})
	for _, path := range []string{webhookv1alpha1.Path, webhookv1alpha1.OutputPath, webhookv1alpha1.FencePath} {
		server.Register(path, &admission.Webhook{Handler: handler})
	}
	ended := make(chan error)
	go func() { ended <- server.Start(t.Context()) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	NewWithT(t).Eventually(func() error { return server.StartedChecker()(nil) }).WithTimeout(patience).Should(Succeed())
}

// assets returns the directory of etcd and kube-apiserver.
func assets(t *testing.T) string {
	t.Helper()
	dir, err := checkout.Assets()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
