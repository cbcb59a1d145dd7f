// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// Deliveries need more memory. What the user sets stays.
func TestMemoryOfTheGateway(t *testing.T) {
	for values, want := range map[string]string{
		"{}":                            "1Gi",
		"receivers: true":               "1536Mi",
		"{receivers: true, logs: true}": "1536Mi",
		"{resources: {limits: {memory: 1Gi}}, receivers: true}":  "1Gi",
		"{resources: {limits: {cpu: 2}}, receivers: true}":       "1536Mi",
		"{resources: {limits: {memory: null}}, receivers: true}": "0",
		"{resources: {limits: null}, receivers: true}":           "0",
		"{resources: null, receivers: true}":                     "0",
	} {
		group := valuesFrom(t, values)
		group["enabled"] = true
		limits := gatewayContainer(t, rendered(t, map[string]any{"gateway": group})).Resources.Limits
		if got := limits.Memory().String(); got != want {
			t.Errorf("%s: the limit is %s, want %s", values, got, want)
		}
	}
}

// With one replica, a budget of one would block each drain of its node.
func TestPodDisruptionBudgetOfOneReplica(t *testing.T) {
	for values, want := range map[string][2]bool{ // of the manager, and of the gateway
		"{}":                      {true, true},
		"manager: {replicas: 1}":  {false, true},
		"gateway: {replicas: 1}":  {true, false},
		"gateway: {replicas: 0}":  {true, false},
		"gateway: {replicas: 10}": {true, true},
		"manager: {podDisruptionBudget: {enabled: false}}": {false, true},
	} {
		parsed := valuesFrom(t, values)
		if err := unstructured.SetNestedField(parsed, true, "gateway", "enabled"); err != nil {
			t.Fatal(err)
		}
		objects := rendered(t, parsed)
		_, manager := objects["PodDisruptionBudget "+namespace+"/jobrun-controller-manager"]
		_, gateway := objects["PodDisruptionBudget "+namespace+"/jobrun-gateway"]
		if got := [2]bool{manager, gateway}; got != want {
			t.Errorf("%s: got budgets %v, want %v", values, got, want)
		}
	}
}

// A gateway without replicas is paused. Nothing needs it but its callers.
func TestPausedGateway(t *testing.T) {
	objects := rendered(t, valuesFrom(t, "gateway: {enabled: true, replicas: 0}"))
	gateway := as[appsv1.Deployment](t, objects["Deployment "+namespace+"/jobrun-gateway"])
	if replicas := gateway.Spec.Replicas; replicas == nil || *replicas != 0 {
		t.Errorf("the gateway has %v replicas", replicas)
	}
}

// The gateway speaks HTTPS alone. A Gateway must know with which CA it verifies that.
func TestBackendTLS(t *testing.T) {
	configMap := func(name string) []gatewayv1.LocalObjectReference {
		return []gatewayv1.LocalObjectReference{{Kind: "ConfigMap", Name: gatewayv1.ObjectName(name)}}
	}
	system := gatewayv1.WellKnownCACertificatesSystem
	for values, want := range map[string]*gatewayv1.BackendTLSPolicyValidation{
		"{}": {CACertificateRefs: configMap("jobrun-gateway-ca"), Hostname: "jobrun-gateway.jobrun-system.svc"},
		"{certificates: {provider: cert-manager}, gateway: {httpRoute: {backendTLS: {caCertificateRefs: [{group: \"\", kind: ConfigMap, name: mine}]}}}}": {
			CACertificateRefs: configMap("mine"), Hostname: "jobrun-gateway.jobrun-system.svc",
		},
		"gateway: {secretName: jobs-tls, httpRoute: {backendTLS: {hostname: jobs.example.com}}}": {
			WellKnownCACertificates: &system, Hostname: "jobs.example.com",
		},
		"{certificates: {provider: cert-manager}, gateway: {httpRoute: {backendTLS: {enabled: false}}}}": nil,
	} {
		parsed := valuesFrom(t, values)
		for path, value := range map[string]any{"enabled": true, "httpRoute.enabled": true, "httpRoute.parentRefs": []any{map[string]any{"name": "public"}}} {
			if err := unstructured.SetNestedField(parsed, value, append([]string{"gateway"}, strings.Split(path, ".")...)...); err != nil {
				t.Fatal(err)
			}
		}
		var got *gatewayv1.BackendTLSPolicyValidation
		if object, installed := rendered(t, parsed)["BackendTLSPolicy "+namespace+"/jobrun-gateway"]; installed {
			policy := as[gatewayv1.BackendTLSPolicy](t, object)
			got = &policy.Spec.Validation
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", values, diff)
		}
	}
}

// Calls of the webhook may come from elsewhere than the API server's own address.
func TestWebhookFrom(t *testing.T) {
	agents := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"k8s-app": "konnectivity-agent"}}}
	apiServer := networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.10/32"}}
	for values, want := range map[string][]networkingv1.NetworkPolicyPeer{
		"{}":                         nil,
		"apiServers: [10.0.0.10/32]": {apiServer},
		"webhookFrom: [{podSelector: {matchLabels: {k8s-app: konnectivity-agent}}}]":                               {agents},
		"{apiServers: [10.0.0.10/32], webhookFrom: [{podSelector: {matchLabels: {k8s-app: konnectivity-agent}}}]}": {agents},
	} {
		objects := rendered(t, map[string]any{"networkPolicy": valuesFrom(t, values)})
		policy := as[networkingv1.NetworkPolicy](t, objects["NetworkPolicy "+namespace+"/jobrun-allow-webhook-traffic"])
		if diff := cmp.Diff(want, policy.Spec.Ingress[0].From); diff != "" {
			t.Errorf("%s (-want +got):\n%s", values, diff)
		}
	}
}

// Who installs the ServiceMonitor learns what Prometheus lacks.
func TestNotesTellWhatPrometheusNeeds(t *testing.T) {
	const right, label = "kubectl create clusterrolebinding jobrun-metrics-reader", "kubectl label namespace "
	for values, want := range map[string][]string{
		"monitoring: {serviceMonitor: {enabled: false}}":                                                       nil,
		"monitoring: {serviceMonitor: {enabled: true}}":                                                        {right, label + "NAMESPACE metrics=enabled"},
		"monitoring: {serviceMonitor: {enabled: true, reader: {name: prometheus-k8s, namespace: monitoring}}}": {label + "monitoring metrics=enabled"},
		"{monitoring: {serviceMonitor: {enabled: true}}, networkPolicy: {enabled: false}}":                     {right},
		"{monitoring: {serviceMonitor: {enabled: true}}, networkPolicy: {metricsFrom: [{podSelector: {}}]}}":   {right},
	} {
		c, err := loadChart()
		if err != nil {
			t.Fatal(err)
		}
		release, err := releaseOf(c, valuesFrom(t, values), namespace)
		if err != nil {
			t.Fatal(err)
		}
		for _, told := range []string{right, label} {
			wanted := slices.IndexFunc(want, func(text string) bool { return strings.HasPrefix(text, told) })
			switch {
			case wanted < 0 && strings.Contains(release.Info.Notes, told):
				t.Errorf("%s: the notes have %q", values, told)
			case wanted >= 0 && !strings.Contains(release.Info.Notes, want[wanted]):
				t.Errorf("%s: the notes lack %q:\n%s", values, want[wanted], release.Info.Notes)
			}
		}
	}
}

func valuesFrom(t *testing.T, text string) (values map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}
