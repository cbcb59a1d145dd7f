// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const gatewayName = "jobrun-gateway"

// eachGateway runs a test on the objects of the gateway, and on its Deployment.
func eachGateway(t *testing.T, test func(*testing.T, manifests, appsv1.Deployment)) {
	for name, all := range map[string]func(*testing.T) manifests{
		"here":              func(t *testing.T) manifests { return parse(t, kustomized(t, "config/overlays/gateway")) },
		"another namespace": func(t *testing.T) manifests { return elsewhere(t, "config/overlays/gateway") },
	} {
		t.Run(name, func(t *testing.T) {
			var own manifests
			for _, object := range all(t) {
				if strings.Contains(object.GetName(), "gateway") {
					own = append(own, object)
				}
			}
			test(t, own, the[appsv1.Deployment](t, own, "Deployment"))
		})
	}
}

// The names in the component are literal: these tests compare them.
func TestGatewaysObjectsNameEachOther(t *testing.T) {
	eachGateway(t, func(t *testing.T, m manifests, deployment appsv1.Deployment) {
		account := deployment.Spec.Template.Spec.ServiceAccountName
		if account != gatewayName || !m.has("ServiceAccount", account) { // the default of --gateway-user
			t.Errorf("the ServiceAccount is %q", account)
		}
		binding := the[rbacv1.ClusterRoleBinding](t, m, "ClusterRoleBinding")
		if !m.has("ClusterRole", binding.RoleRef.Name) || binding.Subjects[0].Name != account || binding.Subjects[0].Namespace != deployment.Namespace {
			t.Errorf("the binding is %+v", binding)
		}
		schemas := all[flowcontrolv1.FlowSchema](t, m, "FlowSchema")
		if len(schemas) != 2 {
			t.Errorf("%d FlowSchemas", len(schemas))
		}
		for _, schema := range schemas {
			subject := schema.Spec.Rules[0].Subjects[0].ServiceAccount
			if !m.has("PriorityLevelConfiguration", schema.Spec.PriorityLevelConfiguration.Name) || subject.Name != account || subject.Namespace != deployment.Namespace {
				t.Errorf("the FlowSchema is %+v", schema.Spec)
			}
		}
		policy := the[networkingv1.NetworkPolicy](t, m, "NetworkPolicy")
		pods := labels.Set(deployment.Spec.Template.Labels)
		for what, selector := range map[string]*metav1.LabelSelector{
			"Deployment":          deployment.Spec.Selector,
			"NetworkPolicy":       &policy.Spec.PodSelector,
			"PodDisruptionBudget": the[policyv1.PodDisruptionBudget](t, m, "PodDisruptionBudget").Spec.Selector,
		} {
			if s, err := metav1.LabelSelectorAsSelector(selector); err != nil || s.Empty() || !s.Matches(pods) {
				t.Errorf("%s selects %v, not %v", what, s, pods)
			}
		}
		for _, service := range all[corev1.Service](t, m, "Service") {
			if !labels.SelectorFromSet(service.Spec.Selector).Matches(pods) {
				t.Errorf("Service %s selects %v, not %v", service.Name, service.Spec.Selector, pods)
			}
		}
		for _, object := range m {
			if object.GetLabels()["app.kubernetes.io/part-of"] != "jobrun" {
				t.Errorf("%s %s has no labels", object.GetKind(), object.GetName())
			}
		}
	})
}

// The manager's selectors do not match the gateway's Pods, and the other way round.
func TestGatewaysPodsAreNotTheManagers(t *testing.T) {
	m := parse(t, kustomized(t, "config/overlays/gateway"))
	for _, deployment := range all[appsv1.Deployment](t, m, "Deployment") {
		for _, service := range all[corev1.Service](t, m, "Service") {
			matches := labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(deployment.Spec.Template.Labels))
			if matches != ((deployment.Name == gatewayName) == strings.HasPrefix(service.Name, gatewayName)) {
				t.Errorf("Service %s selects the Pods of %s: %t", service.Name, deployment.Name, matches)
			}
		}
	}
}

// The gateway faces the network. It may read and write JobRuns, and nothing that the operator's promises depend on.
func TestGatewaysRights(t *testing.T) {
	eachGateway(t, func(t *testing.T, m manifests, _ appsv1.Deployment) {
		got := map[string]string{}
		for _, rule := range the[rbacv1.ClusterRole](t, m, "ClusterRole").Rules {
			for _, resource := range rule.Resources {
				got[resource] = strings.Join(slices.Sorted(slices.Values(rule.Verbs)), " ")
			}
		}
		want := map[string]string{
			"jobruns": "create delete get list patch watch", "runkeys": "get list watch", "jobdefinitions": "get list trigger watch",
			"namespaces": "list", "tokenreviews": "create", "subjectaccessreviews": "create",
		}
		if len(got) != len(want) {
			t.Errorf("got %v", got)
		}
		for resource, verbs := range want {
			if got[resource] != verbs {
				t.Errorf("%s: %q, want %q", resource, got[resource], verbs)
			}
		}
	})
}
