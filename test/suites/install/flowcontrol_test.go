// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"net/http"
	"testing"

	. "github.com/onsi/gomega"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Headers of each answer of the API server name the FlowSchema and the priority level of the request.
func TestOperatorsRequestsHaveTheirOwnPriorityLevel(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	var schema flowcontrolv1.FlowSchema
	var level flowcontrolv1.PriorityLevelConfiguration
	name := client.ObjectKey{Name: "jobrun-controller-manager"}
	g.Expect(c.admin.Get(ctx, name, &schema)).To(Succeed())
	g.Expect(c.admin.Get(ctx, name, &level)).To(Succeed())

	operator, err := c.ServiceAccountKubeconfig(ctx, namespace, "jobrun-controller-manager")
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(func() http.Header { return headersOfList(t, operator) }).WithTimeout(patience).Should(And(
		HaveKeyWithValue("X-Kubernetes-Pf-Flowschema-Uid", ConsistOf(string(schema.UID))),
		HaveKeyWithValue("X-Kubernetes-Pf-Prioritylevel-Uid", ConsistOf(string(level.UID))),
	))

	other, err := c.ServiceAccountKubeconfig(ctx, namespace, "default")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(headersOfList(t, other)).To(HaveKeyWithValue("X-Kubernetes-Pf-Flowschema-Uid", Not(ConsistOf(string(schema.UID)))))
}

// headersOfList lists RunKeys and returns the headers of the answer.
func headersOfList(t *testing.T, kubeconfig string) http.Header {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	gv := v1alpha1.GroupVersion
	response, err := httpClient.Get(config.Host + "/apis/" + gv.Group + "/" + gv.Version + "/runkeys")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.Header
}
