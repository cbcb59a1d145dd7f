// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// The HTTPRoute and the BackendTLSPolicy are what the Gateway API takes: its types, and its CRDs with their rules.
func TestGatewaysHTTPRouteExample(t *testing.T) {
	c, g := testCluster(t), NewWithT(t)
	file := filepath.Join(root, "examples", "gateway", "httproute.yaml")
	text, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	objects := parse(t, text)
	g.Expect(objects).To(HaveLen(2))
	route := the[gatewayv1.HTTPRoute](t, objects, "HTTPRoute")
	policy := the[gatewayv1.BackendTLSPolicy](t, objects, "BackendTLSPolicy")
	backend := route.Spec.Rules[0].BackendRefs[0]
	overlay := parse(t, kustomized(t, "config/overlays/gateway"))
	for _, service := range all[corev1.Service](t, overlay, "Service") {
		if service.Name == string(backend.Name) {
			g.Expect(service.Namespace).To(Equal(route.Namespace))
			g.Expect(service.Spec.Ports[0].Port).To(Equal(*backend.Port))
		}
	}
	g.Expect(overlay.has("Service", string(backend.Name))).To(BeTrue())
	g.Expect(policy.Spec.TargetRefs[0].Name).To(Equal(backend.Name))
	g.Expect(string(policy.Spec.Validation.Hostname)).To(Equal(gatewayDNSName))
	g.Expect(string(policy.Spec.Validation.CACertificateRefs[0].Name)).To(Equal(gatewayCAConfigMap))

	module, err := output(exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api"))
	g.Expect(err).NotTo(HaveOccurred())
	standard := filepath.Join(strings.TrimSpace(string(module)), "config", "crd", "standard", "gateway.networking.k8s.io_")
	crds := []string{"-f", standard + "httproutes.yaml", "-f", standard + "backendtlspolicies.yaml"}
	_, err = c.kubectl(append([]string{"apply", "--server-side"}, crds...)...)
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _, _ = c.kubectl(append([]string{"delete", "--wait=false"}, crds...)...) })
	_, err = c.kubectl(append([]string{"wait", "--for=condition=Established", "--timeout=60s"}, crds...)...)
	g.Expect(err).NotTo(HaveOccurred())
	apply := func(file string) (string, error) {
		out, err := c.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", file)
		return string(out), err
	}
	g.Eventually(func() (string, error) { return apply(file) }).WithTimeout(patience).Should(Equal(
		"httproute.gateway.networking.k8s.io/jobrun-gateway serverside-applied (server dry run)\n" +
			"backendtlspolicy.gateway.networking.k8s.io/jobrun-gateway serverside-applied (server dry run)\n"))

	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	g.Expect(os.WriteFile(wrong, []byte(strings.Replace(string(text), "request: 0s", "request: 0s\n      nonsense: 1s", 1)), 0o600)).To(Succeed())
	_, err = apply(wrong)
	g.Expect(err).To(MatchError(ContainSubstring("nonsense")))
}

// The examples name what config/overlays/gateway installs, and what the manager makes.
func TestGatewaysIngressExample(t *testing.T) {
	c, g := testCluster(t), NewWithT(t)
	overlay := parse(t, kustomized(t, "config/overlays/gateway"))
	text, err := os.ReadFile(filepath.Join(root, "examples", "gateway", "ingress.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	var ingress unstructured.Unstructured
	g.Expect(yaml.UnmarshalStrict(text, &ingress.Object)).To(Succeed())
	const nginx = "nginx.ingress.kubernetes.io/"
	g.Expect(ingress.GetAnnotations()).To(And(
		HaveKeyWithValue(nginx+"proxy-ssl-secret", namespace+"/"+gatewayCertSecret),
		HaveKeyWithValue(nginx+"proxy-ssl-name", gatewayDNSName),
	))
	g.Expect(string(text)).To(ContainSubstring("name: " + gatewayName))
	g.Expect(overlay.has("Service", gatewayName)).To(BeTrue())
	out, err := c.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", filepath.Join(root, "examples/gateway/ingress.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(out)).To(Equal("ingress.networking.k8s.io/jobrun-gateway serverside-applied (server dry run)\n"))
}
