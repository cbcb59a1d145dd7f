// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const webhookDNSName = "jobrun-webhook-service." + namespace + ".svc"

// secretKey names the Secret that holds the webhook's certificate.
var secretKey = client.ObjectKey{Namespace: namespace, Name: "jobrun-webhook-server-cert"}

// replica is a manager process with the arguments and the rights that the Deployment defines.
type replica struct {
	*controlplane.Process
	webhook, probe, metrics string // addresses
}

// The replicas make the webhook's certificate themselves, serve it, and share the keys out.
func TestReplicas(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	binary := managerBinary(t)
	c.createScraper(t)
	replicas := []*replica{c.startReplica(t, binary, "manager-1", quickDrain), c.startReplica(t, binary, "manager-2", quickDrain)}
	first, second := replicas[0], replicas[1]
	g.Eventually(c.members(t)).WithTimeout(patience).Should(HaveLen(2))

	for _, r := range replicas {
		r.awaitReady(t)
		g.Eventually(c.servedBy(t, r)).WithTimeout(patience).Should(Equal(c.certificate(t)()))
	}

	t.Run("metrics are for those who may read them", func(t *testing.T) { testMetrics(t, c, second) })
	t.Run("the metrics of the alerts exist", func(t *testing.T) { testAlerts(t, c, first) })
	t.Run("a certificate that is lost is made again", func(t *testing.T) { testRenewal(t, c, replicas) })
	t.Run("applying again leaves what the manager wrote", func(t *testing.T) { testApplyOver(t, c, replicas) })

	g.Expect(first.Stop(patience)).To(Succeed())
	g.Expect(first.Wait(ctx)).To(Succeed(), "exit code")
	g.Expect(c.members(t)()).To(HaveLen(1), "the other one takes over at once")
	g.Expect(get("https://"+second.webhook+"/", "")()).To(Equal(http.StatusNotFound), "the webhook is served")
	g.Expect(second.Stop(patience)).To(Succeed())

	g.Expect(c.refusedToOperator(t)).To(BeEmpty())
}

func managerBinary(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "manager")
	if _, err := output(exec.Command("go", "build", "-o", binary, "./cmd")); err != nil {
		t.Fatal(err)
	}
	return binary
}

func (r *replica) awaitReady(t *testing.T) {
	t.Helper()
	NewWithT(t).Eventually(get("http://"+r.probe+"/readyz", "")).WithTimeout(patience).Should(Equal(http.StatusOK), r.LogTail())
}

// quickDrain is an argument for a replica whose end nobody waits 90 s for. A request at that moment may fail.
const quickDrain = "--drain-timeout=2s"

// startReplica starts a replica with the arguments of the Deployment, and these.
func (c *cluster) startReplica(t *testing.T, binary, name string, args ...string) *replica {
	t.Helper()
	g := NewWithT(t)
	r := &replica{}
	for _, address := range []*string{&r.webhook, &r.probe, &r.metrics} {
		var err error
		*address, err = controlplane.FreeAddress()
		g.Expect(err).NotTo(HaveOccurred())
	}
	kubeconfig, err := c.ServiceAccountKubeconfig(t.Context(), namespace, "jobrun-controller-manager")
	g.Expect(err).NotTo(HaveOccurred())
	host, port, _ := strings.Cut(r.webhook, ":")
	args = slices.Concat(the[appsv1.Deployment](t, installed(t), "Deployment").Spec.Template.Spec.Containers[0].Args, []string{
		"--webhook-host=" + host, "--webhook-port=" + port,
		"--health-probe-bind-address=" + r.probe,
		"--metrics-bind-address=" + r.metrics,
	}, args)
	r.Process, err = c.Run(controlplane.ProcessSpec{Name: name, Path: binary, Args: args, Env: []string{"KUBECONFIG=" + kubeconfig}})
	g.Expect(err).NotTo(HaveOccurred())
	return r
}

// members returns the Leases of the replicas.
func (c *cluster) members(t *testing.T) func() ([]coordinationv1.Lease, error) {
	return func() ([]coordinationv1.Lease, error) {
		var leases coordinationv1.LeaseList
		err := c.admin.List(t.Context(), &leases, client.InNamespace(namespace), client.HasLabels{v1alpha1.LabelMember})
		return leases.Items, err
	}
}

func (c *cluster) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	if err := c.admin.Get(t.Context(), secretKey, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

// certificate returns the server's certificate in the Secret.
func (c *cluster) certificate(t *testing.T) func() string {
	return func() string { return leafOf(c.secret(t).Data[corev1.TLSCertKey]) }
}

// servedBy returns the certificate that the replica's webhook serves. It fails if the API server would not trust it.
func (c *cluster) servedBy(t *testing.T, r *replica) func() (string, error) {
	return func() (string, error) {
		var webhooks admissionregistrationv1.MutatingWebhookConfiguration
		if err := c.admin.Get(t.Context(), client.ObjectKey{Name: "jobrun-mutating-webhook-configuration"}, &webhooks); err != nil {
			return "", err
		}
		var fence admissionregistrationv1.ValidatingWebhookConfiguration
		if err := c.admin.Get(t.Context(), client.ObjectKey{Name: "jobrun-validating-webhook-configuration"}, &fence); err != nil {
			return "", err
		}
		connection, err := tls.Dial("tcp", r.webhook, &tls.Config{InsecureSkipVerify: true}) // verified below
		if err != nil {
			return "", err
		}
		defer connection.Close()
		leaf := connection.ConnectionState().PeerCertificates[0]
		for _, bundle := range [][]byte{webhooks.Webhooks[0].ClientConfig.CABundle, fence.Webhooks[0].ClientConfig.CABundle} {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(bundle)
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: webhookDNSName}); err != nil {
				return "", err
			}
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})), nil
	}
}

// leafOf returns the first certificate of a chain, or nothing.
func leafOf(chain []byte) string {
	block, _ := pem.Decode(chain)
	if block == nil {
		return ""
	}
	return string(pem.EncodeToMemory(block))
}

func testMetrics(t *testing.T, c *cluster, r *replica) {
	g, url := NewWithT(t), "https://"+r.metrics+"/metrics"
	g.Expect(get(url, "")()).To(Equal(http.StatusUnauthorized))
	g.Expect(get(url, c.token(t, "default"))()).To(Equal(http.StatusForbidden))
	g.Expect(get(url, c.token(t, scraper))()).To(Equal(http.StatusOK))
}

func testRenewal(t *testing.T, c *cluster, replicas []*replica) {
	g := NewWithT(t)
	before := c.certificate(t)()
	secret := c.secret(t)
	delete(secret.Data, corev1.TLSCertKey)
	g.Expect(c.admin.Update(t.Context(), secret)).To(Succeed())
	g.Eventually(c.certificate(t)).WithTimeout(patience).ShouldNot(Or(BeEmpty(), Equal(before)))
	for _, r := range replicas {
		g.Eventually(c.servedBy(t, r)).WithTimeout(patience).Should(Equal(c.certificate(t)()))
	}
}

func testApplyOver(t *testing.T, c *cluster, replicas []*replica) {
	g := NewWithT(t)
	before := c.certificate(t)()
	out, err := c.kubectl("apply", "--server-side", "-f", c.installer)
	g.Expect(err).NotTo(HaveOccurred(), "%s", out)
	g.Expect(c.certificate(t)()).To(Equal(before))
	for _, r := range replicas {
		g.Expect(c.servedBy(t, r)()).To(Equal(before))
	}
}

const scraper = "scraper"

// createScraper creates a ServiceAccount that may read metrics.
func (c *cluster) createScraper(t *testing.T) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: scraper}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: scraper},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "jobrun-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: scraper}},
	}
	for _, object := range []client.Object{account, binding} {
		if err := c.admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// token returns a token of a ServiceAccount in the operator's namespace.
func (c *cluster) token(t *testing.T, account string) string {
	t.Helper()
	request, err := c.clientset.CoreV1().ServiceAccounts(namespace).
		CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// get returns a function that requests the URL and returns the status code.
func get(url, token string) func() (int, error) {
	httpClient := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // servedBy checks certificates
		DisableKeepAlives: true,
	}}
	return func() (int, error) {
		request, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return 0, err
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := httpClient.Do(request)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
}

// refusedToOperator returns the operator's requests that the API server refused because its roles do not cover them.
func (c *cluster) refusedToOperator(t *testing.T) []string {
	t.Helper()
	user := operator(t, installed(t))
	var refused []string
	c.audit(t, func(event auditv1.Event) {
		if event.User.Username == user && event.ResponseStatus != nil && event.ResponseStatus.Code == http.StatusForbidden {
			refused = append(refused, event.Verb+" "+event.RequestURI)
		}
	})
	return refused
}
