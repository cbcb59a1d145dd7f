// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"io"
	"net/http"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// While nothing can start, /readyz fails with the reason. The Deployment's probe passes, so that triggers are accepted.
func TestReadyzSaysWhyNothingStarts(t *testing.T) {
	g, ctx := NewWithT(t), t.Context()
	service, err := controlplane.NewBalancer()
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { g.Expect(service.Close()).To(Succeed()) }()
	c := startRotationCluster(t, service.Addr())
	pods := &deployment{cluster: c, service: service, binary: managerBinary(t)}
	pods.start(t, quickDrain)
	manager := pods.ready()[0]
	readyz := body("http://" + manager.probe + "/readyz?verbose")
	probe := the[appsv1.Deployment](t, installed(t), "Deployment").Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet.Path
	probed := get("http://"+manager.probe+probe, "")
	g.Expect(readyz()).To(HaveSuffix("readyz check passed\n"))

	triggers := 0
	keyed := func() error {
		triggers++
		return c.admin.Create(ctx, jobRun(triggers))
	}
	g.Expect(keyed()).To(Succeed())

	role := &rbacv1.ClusterRole{}
	g.Expect(c.admin.Get(ctx, client.ObjectKey{Name: "jobrun-manager-role"}, role)).To(Succeed())
	withoutWrites := role.DeepCopy()
	for i, rule := range role.Rules {
		if rule.Resources[0] == "runkeys" {
			withoutWrites.Rules[i].Verbs = []string{"get", "list", "watch"}
		}
	}
	g.Expect(c.admin.Patch(ctx, withoutWrites, client.MergeFrom(role))).To(Succeed())
	g.Eventually(func() (string, error) {
		_ = keyed() // refused, once the API server has read the role
		return readyz()
	}).WithTimeout(patience).Should(And(ContainSubstring("[-]runkeys failed: no RunKey can be written since "), ContainSubstring("forbidden")))
	g.Expect(probed()).To(Equal(http.StatusOK))

	role.ResourceVersion = ""
	g.Expect(c.admin.Update(ctx, role)).To(Succeed())
	g.Eventually(keyed).WithTimeout(patience).Should(Succeed())
	g.Eventually(readyz).WithTimeout(patience).Should(HaveSuffix("readyz check passed\n"))

	binding := &rbacv1.RoleBinding{}
	g.Expect(c.admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "jobrun-replicas-rolebinding"}, binding)).To(Succeed())
	g.Expect(c.admin.Delete(ctx, binding)).To(Succeed())
	g.Eventually(readyz).WithTimeout(patience).Should(MatchRegexp(
		`\[-\]members failed: no replica reconciles, so nothing starts: this one is not a member: .*leases.* is forbidden`))
	g.Expect(probed()).To(Equal(http.StatusOK))
	g.Expect(keyed()).To(Succeed(), "a trigger is accepted, although it does not start")

	binding.ResourceVersion = ""
	g.Expect(c.admin.Create(ctx, binding)).To(Succeed())
	g.Eventually(readyz).WithTimeout(patience).Should(HaveSuffix("readyz check passed\n"))
	g.Expect(manager.Stop(patience)).To(Succeed())
}

// body returns a function that requests the URL and returns the body.
func body(url string) func() (string, error) {
	return func() (string, error) {
		response, err := http.Get(url)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return string(text), err
	}
}
