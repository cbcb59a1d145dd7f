// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// These tests compare the names that kustomize rewrites with the names that it does not rewrite.

// eachInstallation runs a test on each variant of the installation.
func eachInstallation(t *testing.T, test func(*testing.T, manifests)) {
	t.Run("install.yaml", func(t *testing.T) { test(t, installed(t)) })
	t.Run("cert-manager", func(t *testing.T) { test(t, parse(t, kustomized(t, "config/overlays/cert-manager"))) })
	t.Run("another namespace", func(t *testing.T) { test(t, elsewhere(t, "config/default")) })
	t.Run("another namespace, cert-manager", func(t *testing.T) { test(t, elsewhere(t, "config/overlays/cert-manager")) })
}

// operator returns the user name of the manager.
func operator(t *testing.T, m manifests) string {
	deployment := the[appsv1.Deployment](t, m, "Deployment")
	account := deployment.Spec.Template.Spec.ServiceAccountName
	if !m.has("ServiceAccount", account) {
		t.Errorf("the Deployment's ServiceAccount %q is not installed", account)
	}
	return "system:serviceaccount:" + deployment.Namespace + ":" + account
}

func TestPoliciesNameTheOperator(t *testing.T) {
	userName := regexp.MustCompile(`'(system:[^']*)'`)
	eachInstallation(t, func(t *testing.T, m manifests) {
		for _, policy := range all[admissionregistrationv1.ValidatingAdmissionPolicy](t, m, "ValidatingAdmissionPolicy") {
			var expressions strings.Builder
			for _, condition := range policy.Spec.MatchConditions {
				expressions.WriteString(condition.Expression)
			}
			for _, validation := range policy.Spec.Validations {
				expressions.WriteString(validation.Expression)
			}
			names := userName.FindAllStringSubmatch(expressions.String(), -1)
			if len(names) != 1 || names[0][1] != operator(t, m) {
				t.Errorf("%s names %q, the operator is %q", policy.Name, names, operator(t, m))
			}
			for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
				if !slices.Equal(rule.Operations, []admissionregistrationv1.OperationType{"CREATE", "UPDATE"}) {
					t.Errorf("%s covers %v: with DELETE, namespaces could not be deleted", policy.Name, rule.Operations)
				}
			}
		}
	})
}

// Without a binding, a policy does nothing.
func TestPoliciesAreBound(t *testing.T) {
	eachInstallation(t, func(t *testing.T, m manifests) {
		var policies, bound []string
		for _, policy := range all[admissionregistrationv1.ValidatingAdmissionPolicy](t, m, "ValidatingAdmissionPolicy") {
			policies = append(policies, policy.Name)
		}
		for _, binding := range all[admissionregistrationv1.ValidatingAdmissionPolicyBinding](t, m, "ValidatingAdmissionPolicyBinding") {
			bound = append(bound, binding.Spec.PolicyName)
		}
		if !slices.Equal(slices.Sorted(slices.Values(policies)), slices.Sorted(slices.Values(bound))) {
			t.Errorf("the policies are %v, bound are %v", policies, bound)
		}
	})
}

func TestFlowSchemasNameTheOperator(t *testing.T) {
	eachInstallation(t, func(t *testing.T, m manifests) {
		levels := map[string]bool{}
		for _, schema := range all[flowcontrolv1.FlowSchema](t, m, "FlowSchema") {
			level := schema.Spec.PriorityLevelConfiguration.Name
			if levels[level] || !m.has("PriorityLevelConfiguration", level) {
				t.Errorf("FlowSchema %s has no level of its own: %q", schema.Name, level)
			}
			levels[level] = true
			for _, rule := range schema.Spec.Rules {
				for _, subject := range rule.Subjects {
					account := subject.ServiceAccount
					if got := "system:serviceaccount:" + account.Namespace + ":" + account.Name; got != operator(t, m) {
						t.Errorf("FlowSchema %s is for %q, the operator is %q", schema.Name, got, operator(t, m))
					}
				}
			}
		}
	})
}

func TestRolesAreBoundToTheOperator(t *testing.T) {
	eachInstallation(t, func(t *testing.T, m manifests) {
		check := func(binding string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
			if !m.has(ref.Kind, ref.Name) {
				t.Errorf("%s names %s %q, which is not installed", binding, ref.Kind, ref.Name)
			}
			for _, subject := range subjects {
				if got := "system:serviceaccount:" + subject.Namespace + ":" + subject.Name; got != operator(t, m) {
					t.Errorf("%s is for %q, the operator is %q", binding, got, operator(t, m))
				}
			}
		}
		for _, binding := range all[rbacv1.ClusterRoleBinding](t, m, "ClusterRoleBinding") {
			check(binding.Name, binding.RoleRef, binding.Subjects)
		}
		for _, binding := range all[rbacv1.RoleBinding](t, m, "RoleBinding") {
			check(binding.Name, binding.RoleRef, binding.Subjects)
		}
	})
}

func TestResourceNamesExist(t *testing.T) {
	kinds := map[string]string{
		"mutatingwebhookconfigurations":   "MutatingWebhookConfiguration",
		"validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
	}
	eachInstallation(t, func(t *testing.T, m manifests) {
		args := the[appsv1.Deployment](t, m, "Deployment").Spec.Template.Spec.Containers[0].Args
		check := func(role string, rules []rbacv1.PolicyRule) {
			for _, rule := range rules {
				for _, name := range rule.ResourceNames {
					if rule.Resources[0] == "secrets" && slices.Contains(args, "--cert-secret-name="+name) {
						continue // the manager creates it
					}
					if !m.has(kinds[rule.Resources[0]], name) {
						t.Errorf("%s has rights on %s %q, which is not installed", role, rule.Resources[0], name)
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
	})
}

func TestWebhookIsServedByTheManager(t *testing.T) {
	eachInstallation(t, func(t *testing.T, m manifests) {
		services := map[string]*admissionregistrationv1.ServiceReference{}
		for _, webhook := range the[admissionregistrationv1.MutatingWebhookConfiguration](t, m, "MutatingWebhookConfiguration").Webhooks {
			services[webhook.Name] = webhook.ClientConfig.Service
		}
		for _, webhook := range the[admissionregistrationv1.ValidatingWebhookConfiguration](t, m, "ValidatingWebhookConfiguration").Webhooks {
			services[webhook.Name] = webhook.ClientConfig.Service
		}
		for webhook, service := range services {
			if service.Namespace != m.namespace(t) || !m.has("Service", service.Name) {
				t.Errorf("webhook %s is at Service %s/%s, which is not installed", webhook, service.Namespace, service.Name)
			}
		}
	})
}

func TestSelectorsAndPortsMatchTheManager(t *testing.T) {
	eachInstallation(t, func(t *testing.T, m manifests) {
		template := the[appsv1.Deployment](t, m, "Deployment").Spec.Template
		selects := func(what string, selector *metav1.LabelSelector) {
			t.Helper()
			s, err := metav1.LabelSelectorAsSelector(selector)
			if err != nil {
				t.Fatal(err)
			}
			if s.Empty() || !s.Matches(labels.Set(template.Labels)) {
				t.Errorf("%s selects %q, not the manager's Pods %v", what, s, template.Labels)
			}
		}
		reaches := func(what string, port intstr.IntOrString) {
			t.Helper()
			ports := template.Spec.Containers[0].Ports
			if !slices.ContainsFunc(ports, func(p corev1.ContainerPort) bool { return p.Name == port.StrVal }) {
				t.Errorf("%s leads to port %q, the manager has %v", what, port.StrVal, ports)
			}
		}
		selects("Deployment", the[appsv1.Deployment](t, m, "Deployment").Spec.Selector)
		selects("PodDisruptionBudget", the[policyv1.PodDisruptionBudget](t, m, "PodDisruptionBudget").Spec.Selector)
		for _, service := range all[corev1.Service](t, m, "Service") {
			selects(service.Name, metav1.SetAsLabelSelector(service.Spec.Selector))
			reaches(service.Name, service.Spec.Ports[0].TargetPort)
		}
		for _, policy := range all[networkingv1.NetworkPolicy](t, m, "NetworkPolicy") {
			selects(policy.Name, &policy.Spec.PodSelector)
			reaches(policy.Name, *policy.Spec.Ingress[0].Ports[0].Port)
		}
		for _, constraint := range template.Spec.TopologySpreadConstraints {
			selects("topologySpreadConstraints", constraint.LabelSelector)
		}
		for _, term := range template.Spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
			selects("podAntiAffinity", term.PodAffinityTerm.LabelSelector)
		}
	})
}

func TestEverythingIsNamedAndLabelled(t *testing.T) {
	clusterWide := []string{
		"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "MutatingWebhookConfiguration",
		"ValidatingWebhookConfiguration", "FlowSchema", "PriorityLevelConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
	}
	eachInstallation(t, func(t *testing.T, m manifests) {
		for _, object := range m {
			what := object.GetKind() + " " + object.GetName()
			for _, label := range []string{"app.kubernetes.io/name", "app.kubernetes.io/part-of"} {
				if object.GetLabels()[label] != "jobrun" {
					t.Errorf("%s has no label %s=jobrun", what, label)
				}
			}
			isGiven := object.GetKind() == "CustomResourceDefinition" || object.GetKind() == "Namespace"
			if !strings.HasPrefix(object.GetName(), "jobrun-") && !isGiven {
				t.Errorf("%s lacks the prefix", what)
			}
			want := m.namespace(t)
			if slices.Contains(clusterWide, object.GetKind()) {
				want = ""
			}
			if object.GetNamespace() != want && !mistaken(object.GetKind(), m.namespace(t)) {
				t.Errorf("%s is in namespace %q, not %q", what, object.GetNamespace(), want)
			}
		}
	})
}

func TestInstallerTakesTheImage(t *testing.T) {
	deployment := the[appsv1.Deployment](t, installed(t), "Deployment")
	if got := deployment.Spec.Template.Spec.Containers[0].Image; got != testImage {
		t.Errorf("the image is %q", got)
	}
}
