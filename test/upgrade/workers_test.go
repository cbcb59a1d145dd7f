// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// workers are processes of both versions that execute the runs of a namespace, with the rights that docs/workers.md gives them.
type workers struct {
	namespace, kubeconfig string
	// logs is the directory of their histories, and world that of what they do outside of the API.
	logs, world string
	processes   []*controlplane.Process
}

// newWorkers returns workers that live as long as the node that calls it: those of a spec until its end, and those of BeforeAll until
// the last spec has ended.
func newWorkers(namespace string) *workers {
	GinkgoHelper()
	groups := []string{v1alpha1.GroupVersion.Group}
	newUser(namespace, "worker",
		rbacv1.PolicyRule{APIGroups: groups, Resources: []string{"jobruns"}, Verbs: []string{"get", "list", "watch"}},
		rbacv1.PolicyRule{APIGroups: groups, Resources: []string{"jobruns/status"}, Verbs: []string{"update", "patch"}},
		rbacv1.PolicyRule{
			APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update"},
		})
	kubeconfig, err := plane.ServiceAccountKubeconfig(ctx, namespace, "worker")
	Expect(err).NotTo(HaveOccurred())
	w := &workers{namespace: namespace, kubeconfig: kubeconfig, logs: GinkgoT().TempDir(), world: GinkgoT().TempDir()}
	DeferCleanup(w.kill)
	return w
}

// hire starts a worker process. It registers no cleanup, which would kill the worker at the end of the spec that hires it, together
// with the leases that it holds.
func (w *workers) hire(identity, binary string) {
	GinkgoHelper()
	process, err := plane.Run(controlplane.ProcessSpec{
		Name: "worker-" + w.namespace + "-" + identity,
		Path: binary,
		Args: []string{
			"--namespace=" + w.namespace, "--jobs=" + workersJob, "--identity=" + identity, "--concurrency=2",
			"--history=" + filepath.Join(w.logs, identity), "--world=" + w.world,
		},
		Env: []string{"KUBECONFIG=" + w.kubeconfig},
	})
	Expect(err).NotTo(HaveOccurred())
	w.processes = append(w.processes, process)
}

func (w *workers) kill() {
	for _, process := range w.processes {
		Expect(process.Kill9()).To(Succeed())
	}
}

// expectAlive expects that no worker has ended. The runs of one that has would fail when their leases expire.
func (w *workers) expectAlive() {
	GinkgoHelper()
	for _, process := range w.processes {
		Expect(process.Exited()).To(BeFalse(), "%s has ended:\n%s", process.Name, process.LogTail())
	}
}

// expectNoOverlap expects that no holder of a key did anything after the next holder had begun. Each line of the file of a key begins
// with the token, the run and the generation of its writer.
func (w *workers) expectNoOverlap() {
	GinkgoHelper()
	files, err := filepath.Glob(filepath.Join(w.world, "*"))
	Expect(err).NotTo(HaveOccurred())
	Expect(files).NotTo(BeEmpty())
	for _, file := range files {
		text, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		over, last := map[string]bool{}, ""
		for line := range strings.Lines(string(text)) {
			holder := strings.Join(strings.Fields(line)[:3], " ")
			if holder != last {
				Expect(over).NotTo(HaveKey(holder), "%s: %s goes on after %s", file, holder, last)
				over[last], last = true, holder
			}
		}
	}
}
