// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/internal/testing/history"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// workerAccount is the ServiceAccount of the external workers.
const workerAccount = "worker"

// crew has processes that are external workers, with the rights that docs/workers.md gives them.
type crew struct {
	kubeconfig string
	// logs is the directory of their histories, and world that of their writes outside the API.
	logs, world string
}

func newCrew() *crew {
	GinkgoHelper()
	return &crew{kubeconfig: workersKubeconfig(), logs: GinkgoT().TempDir(), world: GinkgoT().TempDir()}
}

// workersKubeconfig creates a ServiceAccount with the Role of docs/workers.md, and returns a kubeconfig of it.
func workersKubeconfig() string {
	GinkgoHelper()
	role := documentedRole()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: workerAccount}}
	Expect(k8s.Create(ctx, role)).To(Succeed())
	Expect(k8s.Create(ctx, account)).To(Succeed())
	Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: account.Name}},
	})).To(Succeed())
	kubeconfig, err := plane.ServiceAccountKubeconfig(ctx, ns, account.Name)
	Expect(err).NotTo(HaveOccurred())
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	api := newClient(config)
	Eventually(func() error { // the authorizer sees the binding a moment later
		return api.List(ctx, &v1alpha1.JobRunList{}, client.InNamespace(ns))
	}).Should(Succeed())
	return kubeconfig
}

// documentedRole returns the Role of docs/workers.md.
func documentedRole() *rbacv1.Role {
	GinkgoHelper()
	role := &rbacv1.Role{}
	Expect(yaml.UnmarshalStrict([]byte(documented("yaml", "  name: jobrun-worker\n")), role)).To(Succeed())
	role.Namespace = ns
	return role
}

// hired is one process of a crew.
type hired struct {
	*controlplane.Process
	identity string
	log      string
	again    func() *hired
	link     *controlplane.Link // nil unless its network can be cut
}

// hire starts a process that executes the runs of the given jobs.
func (c *crew) hire(identity, jobs string, args ...string) *hired {
	GinkgoHelper()
	h := &hired{identity: identity, log: filepath.Join(c.logs, identity)}
	h.again = func() *hired { return c.hire(identity, jobs, args...) }
	process, err := plane.Run(controlplane.ProcessSpec{
		Name: "worker-" + ns + "-" + identity,
		Path: checkout.Path("bin", "testworker"),
		Args: append([]string{
			"--namespace=" + ns, "--jobs=" + jobs, "--identity=" + identity, "--history=" + h.log, "--world=" + c.world,
		}, args...),
		Env: []string{"KUBECONFIG=" + c.kubeconfig},
	})
	Expect(err).NotTo(HaveOccurred())
	h.Process = process
	DeferCleanup(func() { Expect(process.Kill9()).To(Succeed()) })
	return h
}

// hireRemote is hire for a process whose network can be cut.
func (c *crew) hireRemote(identity, jobs string, args ...string) *hired {
	GinkgoHelper()
	link, err := controlplane.NewLink(strings.TrimPrefix(plane.AdminConfig().Host, "https://"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(link.Close()).To(Succeed()) })
	h := c.hire(identity, jobs, append(args, "--server=https://"+link.Addr())...)
	h.link = link
	return h
}

// operations returns the operations of the process so far.
func (h *hired) operations() []history.Operation {
	GinkgoHelper()
	operations, err := history.ReadFiles(h.log)
	Expect(err).NotTo(HaveOccurred())
	return operations
}

// executing returns those of the leases under which the worker's handler is running.
func (h *hired) executing(leases []holding) []holding {
	GinkgoHelper()
	operations := h.operations()
	return slices.DeleteFunc(leases, func(l holding) bool {
		return !slices.ContainsFunc(operations, func(o history.Operation) bool {
			return o.Kind == history.Execute && o.Run == l.run && o.Generation == l.generation && o.Outcome == history.Unknown
		})
	})
}

// operations returns the operations of all processes.
func (c *crew) operations() []history.Operation {
	GinkgoHelper()
	files, err := filepath.Glob(filepath.Join(c.logs, "*"))
	Expect(err).NotTo(HaveOccurred())
	operations, err := history.ReadFiles(files...)
	Expect(err).NotTo(HaveOccurred())
	return operations
}
