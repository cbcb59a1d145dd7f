// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// documentedExit returns the commands of docs/operations.md that open and close the emergency exit.
func documentedExit(t *testing.T) (open, shut string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(page), "```") {
		command, isShell := strings.CutPrefix(block, "sh\n")
		switch {
		case !isShell:
		case strings.Contains(command, "s/Fail/Ignore/"):
			open = command
		case strings.Contains(command, "s/Ignore/Fail/"):
			shut = command
		}
	}
	if open == "" || shut == "" {
		t.Fatal("docs/operations.md does not have the commands of the emergency exit")
	}
	return open, shut
}

// The webhooks are at a Service without endpoints, as if no replica could be reached.
func TestEmergencyExit(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	open, shut := documentedExit(t)
	reapply := "kubectl apply --server-side -f " + c.installer
	t.Cleanup(func() { _, _ = c.shell(reapply) })
	c.writeCA(t, "of the manager")

	trigger := newRun("in-an-emergency")
	trigger.Spec.ConcurrencyKey = "k"
	g.Expect(c.admin.Create(ctx, trigger.DeepCopy())).To(MatchError(ContainSubstring("failed calling webhook")))

	for name, wayBack := range map[string]string{"by the command": shut, "by the manifest": reapply} {
		_, err := c.shell(open)
		g.Expect(err).NotTo(HaveOccurred(), name)
		g.Expect(c.policies(t)).To(HaveEach(admissionregistrationv1.Ignore), name)
		g.Eventually(func() error { return c.admin.Create(ctx, trigger.DeepCopy()) }).WithTimeout(patience).Should(Succeed(), name)
		g.Expect(c.admin.Delete(ctx, trigger)).To(Succeed())

		_, err = c.shell(wayBack)
		g.Expect(err).NotTo(HaveOccurred(), name)
		g.Expect(c.policies(t)).To(HaveEach(admissionregistrationv1.Fail), name)
		g.Eventually(func() error { return c.admin.Create(ctx, trigger.DeepCopy(), client.DryRunAll) }).WithTimeout(patience).
			Should(MatchError(ContainSubstring("failed calling webhook")), name)
	}
	_, err := c.shell(reapply)
	g.Expect(err).NotTo(HaveOccurred(), "the manifest does not conflict with the exit")
	c.writeCA(t, "of the manager, renewed")
}

// policies returns the failurePolicy of each webhook. The CA that the manager wrote must still be there.
func (c *cluster) policies(t *testing.T) map[string]admissionregistrationv1.FailurePolicyType {
	t.Helper()
	g, found := NewWithT(t), map[string]admissionregistrationv1.FailurePolicyType{}
	mutating, validating := c.webhooks(t)
	for _, webhook := range mutating.Webhooks {
		found[webhook.Name] = *webhook.FailurePolicy
		g.Expect(webhook.ClientConfig.CABundle).NotTo(BeEmpty(), webhook.Name)
	}
	for _, webhook := range validating.Webhooks {
		found[webhook.Name] = *webhook.FailurePolicy
		g.Expect(webhook.ClientConfig.CABundle).NotTo(BeEmpty(), webhook.Name)
	}
	g.Expect(found).To(HaveLen(6))
	return found
}

func (c *cluster) webhooks(t *testing.T) (*admissionregistrationv1.MutatingWebhookConfiguration, *admissionregistrationv1.ValidatingWebhookConfiguration) {
	t.Helper()
	mutating, validating := &admissionregistrationv1.MutatingWebhookConfiguration{}, &admissionregistrationv1.ValidatingWebhookConfiguration{}
	g := NewWithT(t)
	g.Expect(c.admin.Get(t.Context(), client.ObjectKey{Name: "jobrun-mutating-webhook-configuration"}, mutating)).To(Succeed())
	g.Expect(c.admin.Get(t.Context(), client.ObjectKey{Name: "jobrun-validating-webhook-configuration"}, validating)).To(Succeed())
	return mutating, validating
}

// writeCA writes a CA into each webhook, as the manager does.
func (c *cluster) writeCA(t *testing.T, organization string) {
	t.Helper()
	g, bundle := NewWithT(t), newCA(t, organization)
	mutating, validating := c.webhooks(t)
	for i := range mutating.Webhooks {
		mutating.Webhooks[i].ClientConfig.CABundle = bundle
	}
	for i := range validating.Webhooks {
		validating.Webhooks[i].ClientConfig.CABundle = bundle
	}
	for _, configuration := range []client.Object{mutating, validating} {
		g.Expect(c.admin.Update(t.Context(), configuration, client.FieldOwner("manager"))).To(Succeed())
	}
}

// newCA returns a certificate in PEM.
func newCA(t *testing.T, organization string) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{organization}}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
