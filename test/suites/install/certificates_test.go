// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"slices"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// mountedSecrets returns the names of the Secrets that the manager mounts, by volume. It checks that an argument names
// each mount path.
func mountedSecrets(t *testing.T, m manifests) map[string]string {
	pod := the[appsv1.Deployment](t, m, "Deployment").Spec.Template.Spec
	flags := map[string]string{"webhook-certs": "--webhook-cert-path=", "metrics-certs": "--metrics-cert-path="}
	secrets := map[string]string{}
	for _, mount := range pod.Containers[0].VolumeMounts {
		i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		argument := flags[mount.Name] + mount.MountPath
		if !slices.Contains(pod.Containers[0].Args, argument) {
			t.Errorf("the manager's arguments %q lack %q", pod.Containers[0].Args, argument)
		}
		secrets[mount.Name] = pod.Volumes[i].Secret.SecretName
	}
	return secrets
}

// The manager creates the Secret. A Pod whose mounted Secret is missing does not start, and a manifest that holds the Secret
// may empty it.
func TestRotationNeedsNoSecret(t *testing.T) {
	m := installed(t)
	if got := all[corev1.Secret](t, m, "Secret"); len(got) > 0 {
		t.Errorf("installed is the Secret %s", got[0].Name)
	}
	if got := mountedSecrets(t, m); len(got) > 0 {
		t.Errorf("mounted are the Secrets %v", got)
	}
}

// The manager writes its CA into each webhook configuration that is installed.
func TestRotationNamesTheWebhooks(t *testing.T) {
	m := installed(t)
	args := the[appsv1.Deployment](t, m, "Deployment").Spec.Template.Spec.Containers[0].Args
	for _, argument := range []string{
		"--cert-webhook-name=" + the[admissionregistrationv1.MutatingWebhookConfiguration](t, m, "MutatingWebhookConfiguration").Name,
		"--cert-validating-webhook-name=" + the[admissionregistrationv1.ValidatingWebhookConfiguration](t, m, "ValidatingWebhookConfiguration").Name,
	} {
		if !slices.Contains(args, argument) {
			t.Errorf("the manager's arguments %q lack %q", args, argument)
		}
	}
}

func TestCertManagerCertifiesTheServices(t *testing.T) {
	m := parse(t, kustomized(t, "config/overlays/cert-manager"))
	issuer := the[unstructured.Unstructured](t, m, "Issuer")
	secrets := mountedSecrets(t, m)
	certificates := map[string]string{}
	for volume, service := range map[string]string{"webhook-certs": "jobrun-webhook-service", "metrics-certs": "jobrun-metrics-service"} {
		if !m.has("Service", service) {
			t.Errorf("Service %s is not installed", service)
		}
		certificate := certificateOf(t, m, secrets[volume])
		names, _, _ := unstructured.NestedStringSlice(certificate.Object, "spec", "dnsNames")
		if !slices.Contains(names, service+"."+namespace+".svc") {
			t.Errorf("the certificate in %s is for %q, not for %s", volume, names, service)
		}
		if got, _, _ := unstructured.NestedString(certificate.Object, "spec", "issuerRef", "name"); got != issuer.GetName() {
			t.Errorf("the issuer of %s is %q, installed is %q", certificate.GetName(), got, issuer.GetName())
		}
		certificates[volume] = certificate.GetName()
	}
	mutating := the[admissionregistrationv1.MutatingWebhookConfiguration](t, m, "MutatingWebhookConfiguration")
	validating := the[admissionregistrationv1.ValidatingWebhookConfiguration](t, m, "ValidatingWebhookConfiguration")
	for _, annotations := range []map[string]string{mutating.Annotations, validating.Annotations} {
		if got := annotations["cert-manager.io/inject-ca-from"]; got != namespace+"/"+certificates["webhook-certs"] {
			t.Errorf("the webhook's CA is that of %q, its certificate is %q", got, certificates["webhook-certs"])
		}
	}
}

func certificateOf(t *testing.T, m manifests, secret string) unstructured.Unstructured {
	t.Helper()
	for _, certificate := range all[unstructured.Unstructured](t, m, "Certificate") {
		if got, _, _ := unstructured.NestedString(certificate.Object, "spec", "secretName"); got == secret {
			return certificate
		}
	}
	t.Fatalf("no Certificate is for Secret %q", secret)
	return unstructured.Unstructured{}
}

func TestCertManagerLeavesNoRightsOfTheRotation(t *testing.T) {
	m := parse(t, kustomized(t, "config/overlays/cert-manager"))
	args := the[appsv1.Deployment](t, m, "Deployment").Spec.Template.Spec.Containers[0].Args
	if slices.Contains(args, "--cert-rotation") {
		t.Error("the manager rotates certificates of cert-manager's")
	}
	forbidden := []string{"secrets", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"}
	check := func(role string, rules []rbacv1.PolicyRule) {
		for _, rule := range rules {
			for _, resource := range rule.Resources {
				if slices.Contains(forbidden, resource) {
					t.Errorf("%s has rights on %s", role, resource)
				}
			}
		}
	}
	for _, role := range all[rbacv1.ClusterRole](t, m, "ClusterRole") {
		check(role.Name, role.Rules)
	}
	for _, role := range all[rbacv1.Role](t, m, "Role") {
		check(role.Name, role.Rules)
	}
}
