// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
)

const namespace = "controlplane-test"

func TestControlPlane(t *testing.T) {
	ctx := t.Context()
	cp, err := Start(ctx, Options{AuditLog: true, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cp.Stop() })
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := cp.client.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	t.Run("a Job makes a Pod and takes it along", func(t *testing.T) { testJob(t, cp) })
	t.Run("a ServiceAccount's token is worth its roles", func(t *testing.T) { testServiceAccount(t, cp) })
	t.Run("a user has a certificate", func(t *testing.T) { testUser(t, cp) })
	t.Run("a node takes Pods", func(t *testing.T) { testLocalNode(t, cp) })
	t.Run("writes are counted", func(t *testing.T) { testWriteCounter(t, cp) })
	t.Run("manifests are installed", func(t *testing.T) { testInstallManifests(t, cp) })
	t.Run("a restart keeps data", func(t *testing.T) { testRestarts(t, cp) })
	t.Run("the audit log names users", func(t *testing.T) { testAuditLog(t, cp) })
	t.Run("what fails says why", func(t *testing.T) { testFailure(t, cp) })
	t.Run("nothing is left", func(t *testing.T) { testStop(t, cp) }) // must be last
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func(ctx context.Context) (bool, error)) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), pollInterval, time.Minute, true, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func testJob(t *testing.T, cp *ControlPlane) {
	ctx, jobs := t.Context(), cp.client.BatchV1().Jobs(namespace)
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	job.Spec.Template.Spec = corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "main", Image: "none"}},
	}
	if _, err := jobs.Create(ctx, job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pods := func(ctx context.Context) ([]corev1.Pod, error) {
		list, err := cp.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=a"})
		return list.Items, err
	}
	eventually(t, "the scheduler looks at the Job's Pod", func(ctx context.Context) (bool, error) {
		items, err := pods(ctx)
		return err == nil && len(items) == 1 && len(items[0].Status.Conditions) > 0, err
	})
	err := jobs.Delete(ctx, "a", metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationForeground)})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Job is deleted after its Pod", func(ctx context.Context) (bool, error) {
		_, err := jobs.Get(ctx, "a", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return false, err
		}
		items, err := pods(ctx)
		if err == nil && len(items) > 0 {
			err = errors.New("the Pod is still there")
		}
		return true, err
	})
}

func clientOf(t *testing.T, kubeconfig string) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func testServiceAccount(t *testing.T, cp *ControlPlane) {
	ctx := t.Context()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "reader", Namespace: namespace}}
	if _, err := cp.client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := cp.ServiceAccountKubeconfig(ctx, namespace, "reader")
	if err != nil {
		t.Fatal(err)
	}
	pods := clientOf(t, kubeconfig).CoreV1().Pods(namespace)
	if _, err := pods.List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Fatalf("without a role, got %v, want Forbidden", err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader", Namespace: namespace},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "reader", Namespace: namespace}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}
	if _, err := cp.client.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the role lets it list Pods", func(ctx context.Context) (bool, error) {
		_, err := pods.List(ctx, metav1.ListOptions{})
		return err == nil, nil
	})
}

func testUser(t *testing.T, cp *ControlPlane) {
	kubeconfig, err := cp.KubeconfigFor("ann", "staff")
	if err != nil {
		t.Fatal(err)
	}
	_, err = clientOf(t, kubeconfig).CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `"ann"`) {
		t.Fatalf("got %v, want that ann is forbidden to", err)
	}
}

func testLocalNode(t *testing.T, cp *ControlPlane) {
	ctx := t.Context()
	script, err := filepath.Abs(filepath.Join("testdata", "localnode.sh"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cp.StartLocalNode(ctx, script, "fake", filepath.Join(cp.assets, "kubectl")); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "scheduled", Namespace: namespace}}
	pod.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	eventually(t, "the Pod is created", func(ctx context.Context) (bool, error) {
		_, err := cp.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
		return err == nil, nil // Its ServiceAccount may not exist yet.
	})
	eventually(t, "the Pod is bound to the node", func(ctx context.Context) (bool, error) {
		pod, err := cp.client.CoreV1().Pods(namespace).Get(ctx, "scheduled", metav1.GetOptions{})
		return err == nil && pod.Spec.NodeName == "fake", err
	})
	if _, err := cp.StartLocalNode(ctx, "/bin/false", "ends"); err == nil || !strings.Contains(err.Error(), "ended before it was ready") {
		t.Errorf("got %v, want that the node ended", err)
	}
}

func testWriteCounter(t *testing.T, cp *ControlPlane) {
	ctx := t.Context()
	counter, err := cp.NewWriteCounter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer counter.Close()
	before, err := cp.EtcdMetric(ctx, "etcd_mvcc_put_total")
	if err != nil {
		t.Fatal(err)
	}
	configMaps := cp.client.CoreV1().ConfigMaps(namespace)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "counted"}}
	created, err := configMaps.Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := configMaps.Update(ctx, created, metav1.UpdateOptions{}); err != nil { // An update without a change is no write.
		t.Fatal(err)
	}
	created.Data = map[string]string{"a": "b"}
	if _, err := configMaps.Update(ctx, created, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := configMaps.Delete(ctx, "counted", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want := Writes{Puts: 2, Deletes: 1}
	got, err := counter.Under(ctx, "configmaps/"+namespace+"/counted")
	if got != want || err != nil {
		t.Errorf("Under: got %+v, %v, want %+v", got, err, want)
	}
	byResource, err := counter.ByResource(ctx)
	if byResource["configmaps"].Total() < want.Total() || err != nil {
		t.Errorf("ByResource: got %+v, %v, want at least %+v", byResource, err, want)
	}
	after, err := cp.EtcdMetric(ctx, "etcd_mvcc_put_total")
	if after-before < float64(want.Puts) || err != nil {
		t.Errorf("etcd's own counter: %v to %v, %v, want at least %d more", before, after, err, want.Puts)
	}
}

func testInstallManifests(t *testing.T, cp *ControlPlane) {
	manifests, err := os.ReadFile(filepath.Join("testdata", "manifests.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	transforms := []Transform{WebhooksAt("127.0.0.1:9443", []byte("-----BEGIN CERTIFICATE-----\n")), WithoutReplicas}
	for range 2 { // Installing twice is allowed.
		if _, err := cp.InstallManifests(t.Context(), manifests, transforms...); err != nil {
			t.Fatal(err)
		}
	}
	deployment, err := cp.client.AppsV1().Deployments(metav1.NamespaceDefault).Get(t.Context(), "manager", metav1.GetOptions{})
	if err != nil || *deployment.Spec.Replicas != 0 {
		t.Errorf("got %+v, %v, want 0 replicas", deployment.Spec, err)
	}
}

func testRestarts(t *testing.T, cp *ControlPlane) {
	ctx := t.Context()
	url := cp.AdminConfig().Host
	steps := []struct {
		name string
		do   func() error
	}{
		{"restart of the API server", func() error { return cp.RestartAPIServer(ctx) }},
		{"kill -9 of the API server", func() error { return errors.Join(cp.KillAPIServer(), cp.StartAPIServer(ctx)) }},
		{"kill -9 of etcd", func() error { return errors.Join(cp.KillEtcd(), cp.StartEtcd(ctx)) }},
	}
	for _, step := range steps {
		begin := time.Now()
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		eventually(t, "the namespace is still there after "+step.name, func(ctx context.Context) (bool, error) {
			_, err := cp.client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
			return err == nil, ifNotFound(err)
		})
		t.Logf("%s took %s", step.name, time.Since(begin).Round(time.Millisecond))
	}
	if cp.AdminConfig().Host != url {
		t.Errorf("the address changed from %s to %s", url, cp.AdminConfig().Host)
	}
	if err := cp.StartAPIServer(ctx); err == nil || !strings.Contains(err.Error(), "running already") {
		t.Errorf("a second API server: got %v, want that it is running already", err)
	}
}

// ifNotFound returns nil once an object is gone. Any other state may be temporary.
func ifNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

func testAuditLog(t *testing.T, cp *ControlPlane) {
	log, err := os.Open(cp.AuditLogFile())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event auditv1.Event
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatal(err)
		}
		if event.User.Username == "ann" && event.Verb == "list" && event.ObjectRef.Resource == "pods" {
			return
		}
	}
	t.Errorf("no line of %s says that ann listed Pods (%v)", cp.AuditLogFile(), lines.Err())
}

func testFailure(t *testing.T, cp *ControlPlane) {
	process, err := cp.Run(ProcessSpec{Name: "broken", Path: filepath.Join(cp.assets, "kube-scheduler"), Args: []string{"--no-such-flag"}})
	if err != nil {
		t.Fatal(err)
	}
	err = process.WaitReady(t.Context(), HTTPReady(http.DefaultClient, "http://127.0.0.1:1/"))
	for _, want := range []string{"broken", "exit status 1", "unknown flag: --no-such-flag", cp.LogFile("broken")} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to contain %q", err, want)
		}
	}
}

func testStop(t *testing.T, cp *ControlPlane) {
	if _, err := cp.Run(ProcessSpec{Path: "/bin/sh", Args: []string{"-c", "sleep 1000 & wait"}}); err != nil {
		t.Fatal(err)
	}
	var groups []int
	for _, c := range cp.components {
		groups = append(groups, c.process.PID())
	}
	for _, process := range cp.processes {
		groups = append(groups, process.PID())
	}
	if err := cp.Stop(); err != nil {
		t.Error(err)
	}
	for _, group := range groups {
		eventually(t, "the process group is gone", func(context.Context) (bool, error) {
			return errors.Is(syscall.Kill(-group, 0), syscall.ESRCH), nil
		})
	}
	if _, err := os.Stat(cp.Dir()); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", cp.Dir(), err)
	}
}

func TestMissingAssets(t *testing.T) {
	_, err := Start(t.Context(), Options{Assets: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "run `make k8s`") {
		t.Errorf("got %v, want the advice to run `make k8s`", err)
	}
}

func TestDirInUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "must be empty") {
		t.Errorf("got %v, want that the directory must be empty", err)
	}
}
