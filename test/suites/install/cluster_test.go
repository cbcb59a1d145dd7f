// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const patience = time.Minute

// cluster is a control plane with dist/install.yaml applied. It has no nodes, so Pods stay pending.
type cluster struct {
	*controlplane.ControlPlane
	installer string // a file
	admin     client.Client
	clientset kubernetes.Interface
}

var scheme = runtime.NewScheme()

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

// theCluster starts the cluster at its first call. All tests share the cluster, and TestMain stops it.
var theCluster = sync.OnceValues(startCluster)

var clusterStarted *controlplane.ControlPlane

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	code := m.Run()
	if clusterStarted != nil {
		if err := clusterStarted.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func startCluster() (c *cluster, err error) {
	clusterStarted, err = controlplane.Start(context.Background(), controlplane.Options{NoScheduler: true, AuditLog: true})
	if err != nil {
		return nil, err
	}
	return install(clusterStarted)
}

// install applies dist/install.yaml with some changes.
func install(plane *controlplane.ControlPlane, changes ...controlplane.Transform) (*cluster, error) {
	yaml, err := installer()
	if err != nil {
		return nil, err
	}
	if len(changes) > 0 {
		if yaml, err = controlplane.TransformManifests(yaml, changes...); err != nil {
			return nil, err
		}
	}
	c := &cluster{ControlPlane: plane, installer: filepath.Join(plane.Dir(), "install.yaml")}
	if err := os.WriteFile(c.installer, yaml, 0o644); err != nil {
		return nil, err
	}
	if c.admin, err = client.New(c.AdminConfig(), client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	if c.clientset, err = kubernetes.NewForConfig(c.AdminConfig()); err != nil {
		return nil, err
	}
	_, err = c.kubectl("apply", "--server-side", "-f", c.installer)
	return c, err
}

func (c *cluster) kubectl(args ...string) ([]byte, error) {
	return output(c.Kubectl(context.Background(), args...))
}

// shell runs a line of the documentation, in which kubectl is that of the cluster.
func (c *cluster) shell(line string) (string, error) {
	kubectl := c.Kubectl(context.Background())
	command := exec.Command("bash", "-euo", "pipefail", "-c", line)
	command.Env = slices.Concat(kubectl.Env, []string{"PATH=" + filepath.Dir(kubectl.Path) + ":" + os.Getenv("PATH")})
	out, err := output(command)
	return string(out), err
}

func testCluster(t *testing.T) *cluster {
	t.Helper()
	c, err := theCluster()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// as returns a client with the rights of a kubeconfig.
func as(t *testing.T, kubeconfig string, err error) client.Client {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newNamespace creates a namespace and does not delete it, because TestMain discards the whole control plane.
func (c *cluster) newNamespace(t *testing.T) string {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "install-test-"}}
	if err := c.admin.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	return object.Name
}

func TestApplyingAgainChangesNothing(t *testing.T) {
	c, g := testCluster(t), NewWithT(t)
	g.Eventually(func(g Gomega) { // until its controller has updated the Deployment
		deployment, err := c.clientset.AppsV1().Deployments(namespace).Get(t.Context(), "jobrun-controller-manager", metav1.GetOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(deployment.Status.ObservedGeneration).To(Equal(deployment.Generation))
		g.Expect(deployment.Annotations).To(HaveKey("deployment.kubernetes.io/revision"))
	}).WithTimeout(patience).Should(Succeed())

	before := c.installedObjects(t)
	out, err := c.kubectl("apply", "--server-side", "-f", c.installer)
	g.Expect(err).NotTo(HaveOccurred(), "%s", out)
	g.Expect(c.installedObjects(t)).To(Equal(before))
	g.Expect(before).To(HaveLen(len(installed(t))))
}

// installedObjects returns the installed objects as kubectl shows them, without status.
func (c *cluster) installedObjects(t *testing.T) []any {
	t.Helper()
	out, err := c.kubectl("get", "-f", c.installer, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list unstructured.UnstructuredList
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	var objects []any
	for _, object := range list.Items {
		unstructured.RemoveNestedField(object.Object, "status")
		object.SetResourceVersion("") // rises when a controller writes the status
		objects = append(objects, object.Object)
	}
	return objects
}

func TestKubectlsOwnKustomizeBuildsTheSame(t *testing.T) {
	c := testCluster(t)
	for _, dir := range []string{"config/default", "config/overlays/cert-manager"} {
		out, err := c.kubectl("kustomize", dir)
		if err != nil {
			t.Fatal(err)
		}
		NewWithT(t).Expect(parse(t, out)).To(Equal(parse(t, kustomized(t, dir))), dir)
	}
}

// The namespace enforces the restricted Pod security standard, so the API server refuses a Pod that violates it.
func TestManagersPodIsRestricted(t *testing.T) {
	c, g := testCluster(t), NewWithT(t)
	template := the[appsv1.Deployment](t, installed(t), "Deployment").Spec.Template
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.GenerateName, pod.Namespace = "manager-", namespace
	g.Expect(c.admin.Create(t.Context(), pod.DeepCopy(), client.DryRunAll)).To(Succeed())

	pod.Spec.SecurityContext.RunAsNonRoot = nil
	g.Expect(c.admin.Create(t.Context(), pod, client.DryRunAll)).To(MatchError(ContainSubstring("runAsNonRoot")))
}
