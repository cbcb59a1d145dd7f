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

// Headers of each answer of the API server name the FlowSchema and the priority level of the request. The reads of the
// fence have a level that the operator's other requests cannot fill.
func TestOperatorsRequestsHaveTheirOwnPriorityLevels(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	operator, err := c.ServiceAccountKubeconfig(ctx, namespace, "jobrun-controller-manager")
	g.Expect(err).NotTo(HaveOccurred())
	other, err := c.ServiceAccountKubeconfig(ctx, namespace, "default")
	g.Expect(err).NotTo(HaveOccurred())
	for path, name := range map[string]string{
		"runkeys":                        "jobrun-controller-manager",
		"namespaces/default/runkeys/c-x": "jobrun-live-reads",
		"namespaces/default/jobruns/x":   "jobrun-live-reads",
	} {
		var schema flowcontrolv1.FlowSchema
		var level flowcontrolv1.PriorityLevelConfiguration
		g.Expect(c.admin.Get(ctx, client.ObjectKey{Name: name}, &schema)).To(Succeed())
		g.Expect(c.admin.Get(ctx, client.ObjectKey{Name: name}, &level)).To(Succeed())
		g.Eventually(func() http.Header { return headersOf(t, operator, path) }).WithTimeout(patience).Should(And(
			HaveKeyWithValue("X-Kubernetes-Pf-Flowschema-Uid", ConsistOf(string(schema.UID))),
			HaveKeyWithValue("X-Kubernetes-Pf-Prioritylevel-Uid", ConsistOf(string(level.UID))),
		), path)
		g.Expect(headersOf(t, other, path)).To(HaveKeyWithValue("X-Kubernetes-Pf-Flowschema-Uid", Not(ConsistOf(string(schema.UID)))), path)
	}
}

// headersOf reads a path of the API of JobRuns and returns the headers of the answer.
func headersOf(t *testing.T, kubeconfig, path string) http.Header {
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
	response, err := httpClient.Get(config.Host + "/apis/" + gv.Group + "/" + gv.Version + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.Header
}
