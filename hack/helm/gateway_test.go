// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// gateway is a process with the ServiceAccount of the chart's gateway.
type gateway struct {
	process *controlplane.Process
	client  *http.Client
	// address and metrics are where it serves callers and its metrics.
	address, metrics string
}

// startGateway starts a gateway with the flags of the Deployment that are about receivers.
func (c *cluster) startGateway(t *testing.T) *gateway {
	t.Helper()
	g := NewWithT(t)
	insecure := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	started := &gateway{client: &http.Client{Transport: insecure, Timeout: patience}}
	for _, address := range []*string{&started.address, &started.metrics} {
		var err error
		*address, err = controlplane.FreeAddress()
		g.Expect(err).NotTo(HaveOccurred())
	}
	kubeconfig, err := c.ServiceAccountKubeconfig(t.Context(), namespace, gatewayName)
	g.Expect(err).NotTo(HaveOccurred())
	args := []string{"gateway", "--gateway-bind-address=" + started.address, "--metrics-bind-address=" + started.metrics}
	started.process, err = c.Run(controlplane.ProcessSpec{
		Name: "gateway", Path: checkout.Path("bin/manager"), Env: []string{"KUBECONFIG=" + kubeconfig},
		Args: append(args, c.args(t, gatewayName, "--gateway-receiver")...),
	})
	g.Expect(err).NotTo(HaveOccurred())
	return started
}

func (g *gateway) stop(t *testing.T) {
	t.Helper()
	g.client.CloseIdleConnections()
	if err := g.process.Kill9(); err != nil {
		t.Error(err)
	}
}

// post sends a JSON body. An empty token is none.
func (g *gateway) post(path, token, body string) (code int, answer string, err error) {
	request, err := http.NewRequest(http.MethodPost, "https://"+g.address+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := g.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// testGatewayOfNamespaces lets a caller who may do everything trigger in a namespace that is served, and in one that is not. There the
// gateway has no right to create JobRuns. It asks for nothing else that it may not have.
func testGatewayOfNamespaces(t *testing.T, c *cluster) {
	t.Helper()
	g := NewWithT(t)
	token := c.mightyToken(t)
	gateway := c.startGateway(t)
	defer gateway.stop(t)
	g.Eventually(func(g Gomega) { // The gateway starts, and the API server learns of the rights.
		code, answer, err := gateway.post("/v1/namespaces/"+served+"/jobs/sync/runs", token, `{"concurrencyKey": "hooli"}`)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(code).To(Equal(http.StatusCreated), answer)
	}).WithTimeout(patience).Should(Succeed())
	code, answer, err := gateway.post("/v1/namespaces/"+notServed+"/jobs/sync/runs", token, `{"concurrencyKey": "hooli"}`)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(code).To(Equal(http.StatusInternalServerError), answer)
	g.Expect(answer).To(ContainSubstring("the gateway's own user: jobruns.batch.jobrun.dev is forbidden"))
	g.Expect(c.refusedTo(t, gatewayName)).To(ConsistOf(HavePrefix("create /apis/batch.jobrun.dev/v1alpha1/namespaces/" + notServed + "/jobruns")))
}

// mightyToken returns a token of a ServiceAccount that may do everything.
func (c *cluster) mightyToken(t *testing.T) string {
	t.Helper()
	g, ctx := NewWithT(t), t.Context()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: served, Name: "mighty"}}
	g.Expect(c.admin.Create(ctx, account)).To(Succeed())
	g.Expect(c.admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "mighty"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	})).To(Succeed())
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, account.Namespace, account.Name)
	g.Expect(err).NotTo(HaveOccurred())
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	g.Expect(err).NotTo(HaveOccurred())
	return config.BearerToken
}
