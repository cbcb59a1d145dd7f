// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const (
	gatewayCertSecret  = "jobrun-gateway-cert"
	gatewayCAConfigMap = "jobrun-gateway-ca"
	gatewayDNSName     = "jobrun-gateway." + namespace + ".svc"
)

// The gateway mounts what the manager or cert-manager stores, for the name of its Service.
func TestGatewaysCertificateIsMounted(t *testing.T) {
	for name, tc := range map[string]struct {
		manifests manifests
		issuer    bool
	}{
		"by the manager":  {parse(t, kustomized(t, "config/overlays/gateway")), true},
		"by cert-manager": {withComponents(t, "config/gateway", "config/gateway/cert-manager"), false},
		"by you":          {withComponents(t, "config/gateway", "config/gateway/certificate"), false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			for _, deployment := range all[appsv1.Deployment](t, tc.manifests, "Deployment") {
				container := deployment.Spec.Template.Spec.Containers[0]
				if deployment.Name != gatewayName {
					for _, arg := range []string{
						"--gateway-cert-secret-name=" + gatewayCertSecret, "--gateway-ca-config-map-name=" + gatewayCAConfigMap, "--gateway-service-name=" + gatewayName,
					} {
						g.Expect(slices.Contains(container.Args, arg)).To(Equal(tc.issuer), arg)
					}
					continue
				}
				secret := deployment.Spec.Template.Spec.Volumes[0].Secret
				g.Expect(secret.SecretName).To(Equal(gatewayCertSecret))
				g.Expect(secret.Items).To(ConsistOf(corev1.KeyToPath{Key: "tls.crt", Path: "tls.crt"}, corev1.KeyToPath{Key: "tls.key", Path: "tls.key"}), "no ca.key")
				g.Expect(container.Args).To(ContainElement("--gateway-cert-path=" + container.VolumeMounts[0].MountPath))
			}
			g.Expect(tc.manifests.has("Service", gatewayName)).To(BeTrue())
			g.Expect(tc.manifests.has("Role", "jobrun-gateway-cert")).To(Equal(tc.issuer))
			if name == "by cert-manager" {
				certificate := certificateOf(t, tc.manifests, gatewayCertSecret)
				names, _, _ := unstructured.NestedStringSlice(certificate.Object, "spec", "dnsNames")
				g.Expect(names).To(ContainElement(gatewayDNSName))
				issuer, _, _ := unstructured.NestedString(certificate.Object, "spec", "issuerRef", "name")
				g.Expect(tc.manifests.has("Issuer", issuer)).To(BeTrue())
			}
		})
	}
}

// The manager issues the gateway's certificate with the rights of the manifest. A gateway serves each one without a restart, and
// clients verify it with the CA that the manager publishes.
func TestGatewaysCertificate(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	overlay := parse(t, kustomized(t, "config/overlays/gateway"))
	for _, object := range overlay {
		if strings.HasPrefix(object.GetName(), gatewayName) && object.GetKind() != "Deployment" {
			g.Expect(c.admin.Create(ctx, object.DeepCopy())).To(Succeed())
			t.Cleanup(func() { _ = c.admin.Delete(t.Context(), object.DeepCopy()) })
		}
	}
	binary := managerBinary(t)
	manager := c.startReplica(t, binary, "issuer", quickDrain, "--gateway-cert-secret-name="+gatewayCertSecret)
	defer func() { g.Expect(manager.Stop(patience)).To(Succeed()) }()
	mount := newMount(t)
	g.Eventually(func() error { return mount.update(c) }).WithTimeout(patience).Should(Succeed())
	address, err := controlplane.FreeAddress()
	g.Expect(err).NotTo(HaveOccurred())
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, namespace, gatewayName)
	g.Expect(err).NotTo(HaveOccurred())
	gateway, err := c.Run(controlplane.ProcessSpec{
		Name: "gateway", Path: binary, Args: []string{"gateway", "--gateway-bind-address=" + address, "--gateway-cert-path=" + mount.dir},
		Env: []string{"KUBECONFIG=" + kubeconfig},
	})
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { g.Expect(gateway.Stop(patience)).To(Succeed()) }()

	serves := func() (string, error) { return c.verified(t, address) }
	g.Eventually(serves).WithTimeout(patience).Should(Equal(mount.leaf))
	first, ca := mount.leaf, c.gatewayCA(t)

	g.Expect(c.admin.Delete(ctx, gatewaySecret())).To(Succeed())
	g.Eventually(func(g Gomega) {
		g.Expect(mount.update(c)).To(Succeed())
		g.Expect(mount.leaf).NotTo(Equal(first))
		g.Expect(c.gatewayCA(t)).To(And(ContainSubstring(ca), Not(Equal(ca))), "the old CA and the new one")
	}).WithTimeout(patience).Should(Succeed())
	g.Eventually(serves).WithTimeout(patience).Should(Equal(mount.leaf))
	g.Expect(gateway.Exited()).To(BeFalse())

	published := c.gatewayCA(t)
	spoilt := &corev1.ConfigMap{}
	g.Expect(c.admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: gatewayCAConfigMap}, spoilt)).To(Succeed())
	spoilt.Data = nil
	g.Expect(c.admin.Update(ctx, spoilt)).To(Succeed())
	g.Eventually(func() string { return c.gatewayCA(t) }).WithTimeout(patience).Should(Equal(published))
	g.Expect(c.refusedToOperator(t)).To(BeEmpty())
}

func gatewaySecret() *corev1.Secret {
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = namespace, gatewayCertSecret
	return secret
}

// gatewayCA returns what clients read of the gateway's CA.
func (c *cluster) gatewayCA(t *testing.T) string {
	t.Helper()
	published := &corev1.ConfigMap{}
	NewWithT(t).Expect(client.IgnoreNotFound(
		c.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: gatewayCAConfigMap}, published))).To(Succeed())
	return published.Data["ca.crt"]
}

// verified returns the certificate at an address, as a client verifies it that knows the CA.
func (c *cluster) verified(t *testing.T, address string) (string, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.gatewayCA(t)))
	connection, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: gatewayDNSName})
	if err != nil {
		return "", err
	}
	defer connection.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: connection.ConnectionState().PeerCertificates[0].Raw})), nil
}

// mount is a directory that changes as that of a Secret in a Pod: at once, by a symbolic link.
type mount struct {
	dir, leaf string
}

func newMount(t *testing.T) *mount {
	t.Helper()
	m := &mount{dir: t.TempDir()}
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		NewWithT(t).Expect(os.Symlink(filepath.Join("..data", key), filepath.Join(m.dir, key))).To(Succeed())
	}
	return m
}

// update mounts what the Secret has now.
func (m *mount) update(c *cluster) error {
	secret := gatewaySecret()
	if err := c.admin.Get(context.Background(), client.ObjectKeyFromObject(secret), secret); err != nil {
		return err
	}
	version := filepath.Join(m.dir, "..version-"+secret.ResourceVersion)
	if err := os.MkdirAll(version, 0o700); err != nil {
		return err
	}
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		if err := os.WriteFile(filepath.Join(version, key), secret.Data[key], 0o600); err != nil {
			return err
		}
	}
	link := filepath.Join(m.dir, "..data")
	_ = os.Remove(link + "-next")
	if err := os.Symlink(filepath.Base(version), link+"-next"); err != nil {
		return err
	}
	m.leaf = leafOf(secret.Data[corev1.TLSCertKey])
	return os.Rename(link+"-next", link)
}
