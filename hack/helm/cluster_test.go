// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/release"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	releaseName = "jobrun"
	patience    = time.Minute
)

func init() { utilruntime.Must(v1alpha1.AddToScheme(scheme)) }

// cluster is a control plane without nodes and controllers, on which Helm installs the chart. The tests play the Job controller.
type cluster struct {
	*controlplane.ControlPlane
	admin      client.Client
	helm       *action.Configuration
	transforms postRenderer
	operator   *operator.Operator
}

// postRenderer lets the API server call the webhooks of processes of this machine. It implements Helm's PostRenderer.
type postRenderer []controlplane.Transform

// Run changes a manifest before Helm applies it.
func (r postRenderer) Run(manifest *bytes.Buffer) (*bytes.Buffer, error) {
	changed, err := controlplane.TransformManifests(manifest.Bytes(), r...)
	return bytes.NewBuffer(changed), err
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	g := NewWithT(t)
	plane, err := controlplane.Start(t.Context(), controlplane.Options{NoScheduler: true, NoControllerManager: true, AuditLog: true})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := &cluster{ControlPlane: plane, helm: &action.Configuration{}}
	c.admin, err = client.New(c.AdminConfig(), client.Options{Scheme: scheme})
	g.Expect(err).NotTo(HaveOccurred())

	flags := genericclioptions.NewConfigFlags(false)
	kubeconfig, inNamespace, cache := c.AdminKubeconfig(), namespace, t.TempDir()
	flags.KubeConfig, flags.Namespace, flags.CacheDir = &kubeconfig, &inNamespace, &cache
	g.Expect(c.helm.Init(flags, namespace, "secret", func(string, ...any) {})).To(Succeed())
	return c
}

// installOperator installs the chart by Helm, and starts no manager.
func (c *cluster) installOperator(t *testing.T, values map[string]any) {
	t.Helper()
	var err error
	c.operator, err = operator.Install(t.Context(), c.ControlPlane, operator.Options{
		Root: checkout.Path(),
		Apply: func(_ context.Context, transforms ...controlplane.Transform) error {
			c.transforms = transforms
			return c.install(loaded(t), values)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) install(ch *chart.Chart, values map[string]any) error {
	install := action.NewInstall(c.helm)
	install.ReleaseName, install.Namespace, install.CreateNamespace, install.PostRenderer = releaseName, namespace, true, c.transforms
	_, err := install.Run(ch, values)
	return err
}

func (c *cluster) upgrade(t *testing.T, ch *chart.Chart, values map[string]any) *release.Release {
	t.Helper()
	upgrade := action.NewUpgrade(c.helm)
	upgrade.Namespace, upgrade.PostRenderer, upgrade.ResetValues = namespace, c.transforms, true
	done, err := upgrade.Run(releaseName, ch, values)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func (c *cluster) uninstall(t *testing.T) {
	t.Helper()
	uninstall := action.NewUninstall(c.helm)
	if _, err := uninstall.Run(releaseName); err != nil {
		t.Fatal(err)
	}
}

// loaded returns a copy of the chart that a test may change.
func loaded(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// startManager starts a manager with the flag --namespaces of the Deployment, if there is one.
func (c *cluster) startManager(t *testing.T) *operator.Manager {
	t.Helper()
	g := NewWithT(t)
	replica := operator.Replica{Args: c.args(t, managerName, "--namespaces=")}
	var err error
	replica.Kubeconfig, err = c.ServiceAccountKubeconfig(t.Context(), namespace, operator.ServiceAccount)
	g.Expect(err).NotTo(HaveOccurred())
	m, err := c.operator.StartReplica(replica)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(c.operator.AwaitReady(t.Context(), m)).To(Succeed())
	return m
}

// stopManager stops a manager as Kubernetes stops a Pod.
func (c *cluster) stopManager(t *testing.T, m *operator.Manager) {
	t.Helper()
	if err := m.Stop(patience); err != nil {
		t.Fatal(err)
	}
	c.operator.Rebalance()
}

func (c *cluster) deployment(t *testing.T, name string) *appsv1.Deployment {
	t.Helper()
	found := &appsv1.Deployment{}
	if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, found); err != nil {
		t.Fatal(err)
	}
	return found
}

// args returns the arguments of a Deployment's first container that begin with prefix.
func (c *cluster) args(t *testing.T, deployment, prefix string) []string {
	t.Helper()
	return slices.DeleteFunc(c.deployment(t, deployment).Spec.Template.Spec.Containers[0].Args, func(arg string) bool {
		return !strings.HasPrefix(arg, prefix)
	})
}

func (c *cluster) crd(t *testing.T, name string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	found := &apiextensionsv1.CustomResourceDefinition{}
	if err := c.admin.Get(t.Context(), client.ObjectKey{Name: name + ".batch.jobrun.dev"}, found); err != nil {
		t.Fatal(err)
	}
	return found
}

func (c *cluster) createNamespace(t *testing.T, name string) {
	t.Helper()
	if err := c.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Fatal(err)
	}
}

// newRun returns a run with a template.
func newRun(namespace, name, key string) *v1alpha1.JobRun {
	return &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.JobRunSpec{
			JobName: "sync", ConcurrencyKey: key,
			Template: &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "work", Image: "work"}},
			}}}},
		},
	}
}

// phase returns a function that reads the phase of a run.
func (c *cluster) phase(t *testing.T, namespace, name string) func() (v1alpha1.Phase, error) {
	return func() (v1alpha1.Phase, error) {
		run := &v1alpha1.JobRun{}
		err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, run)
		return run.Status.Phase, err
	}
}

// jobs returns the names of the Jobs in a namespace.
func (c *cluster) jobs(t *testing.T, namespace string) (names []string) {
	t.Helper()
	var jobs batchv1.JobList
	if err := c.admin.List(t.Context(), &jobs, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	for _, job := range jobs.Items {
		names = append(names, job.Name)
	}
	slices.Sort(names)
	return names
}

// complete lets a Job succeed, as its controller would.
func (c *cluster) complete(t *testing.T, namespace, name string) {
	t.Helper()
	job := &batchv1.Job{}
	if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, job); err != nil {
		t.Fatal(err)
	}
	now := metav1.Now()
	job.Status.StartTime, job.Status.CompletionTime, job.Status.Succeeded = &now, &now, 1
	for _, condition := range []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{Type: condition, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	if err := c.admin.Status().Update(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

// audit passes the events of the API server's audit log to a function, in their order.
func (c *cluster) audit(t *testing.T, do func(auditv1.Event)) {
	t.Helper()
	file, err := os.Open(c.AuditLogFile())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var event auditv1.Event
		if json.Unmarshal(lines.Bytes(), &event) == nil { // the last line may be half written
			do(event)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// refusedTo returns the requests of a ServiceAccount of the chart that were forbidden.
func (c *cluster) refusedTo(t *testing.T, account string) (refused []string) {
	t.Helper()
	c.audit(t, func(event auditv1.Event) {
		if event.User.Username == "system:serviceaccount:"+namespace+":"+account &&
			event.ResponseStatus != nil && event.ResponseStatus.Code == http.StatusForbidden {
			refused = append(refused, event.Verb+" "+event.RequestURI)
		}
	})
	return refused
}

// deleted returns the resources that were deleted by their names, in order.
func (c *cluster) deleted(t *testing.T) (resources []string) {
	t.Helper()
	c.audit(t, func(event auditv1.Event) {
		if event.Verb == "delete" && event.ObjectRef != nil && event.ResponseStatus != nil && event.ResponseStatus.Code == http.StatusOK {
			resources = append(resources, event.ObjectRef.Resource)
		}
	})
	return resources
}
