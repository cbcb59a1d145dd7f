// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// The gateway may read Pods and logs, or Secrets, and does so, only with the component that switches that on.
func TestGatewaysSwitches(t *testing.T) {
	switches := map[string][]string{"--gateway-logs": {"pods", "pods/log"}, "--gateway-receivers": {"secrets"}}
	for name, tc := range map[string]struct {
		manifests manifests
		on        []string
	}{
		"off":       {parse(t, kustomized(t, "config/overlays/gateway")), nil},
		"logs":      {withComponents(t, "config/gateway", "config/gateway/logs"), []string{"--gateway-logs"}},
		"receivers": {withComponents(t, "config/gateway", "config/gateway/receivers"), []string{"--gateway-receivers"}},
		"both":      {withComponents(t, "config/gateway", "config/gateway/logs", "config/gateway/receivers"), []string{"--gateway-logs", "--gateway-receivers"}},
	} {
		t.Run(name, func(t *testing.T) {
			resources := resourcesOfGateway(t, tc.manifests)
			if !slices.Contains(resources, "jobruns") {
				t.Errorf("rights on %v", resources)
			}
			for flag, needs := range switches {
				on := slices.Contains(tc.on, flag)
				for _, resource := range needs {
					if slices.Contains(resources, resource) != on {
						t.Errorf("%s is %t, rights on %v", flag, on, resources)
					}
				}
				for _, deployment := range all[appsv1.Deployment](t, tc.manifests, "Deployment") {
					args := deployment.Spec.Template.Spec.Containers[0].Args
					if slices.Contains(args, flag) != (on && deployment.Name == gatewayName) {
						t.Errorf("%s has %v", deployment.Name, args)
					}
				}
			}
		})
	}
}

// resourcesOfGateway returns the resources on which the gateway has rights in all namespaces.
func resourcesOfGateway(t *testing.T, m manifests) (resources []string) {
	t.Helper()
	for _, binding := range all[rbacv1.ClusterRoleBinding](t, m, "ClusterRoleBinding") {
		if !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == gatewayName }) {
			continue
		}
		for _, role := range all[rbacv1.ClusterRole](t, m, "ClusterRole") {
			if role.Name == binding.RoleRef.Name {
				for _, rule := range role.Rules {
					resources = append(resources, rule.Resources...)
				}
			}
		}
	}
	return resources
}

// withComponents returns config/default with components.
func withComponents(t *testing.T, components ...string) manifests {
	t.Helper()
	dir := t.TempDir()
	repository, err := filepath.Rel(dir, root)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("resources: [%s/config/default]\ncomponents:\n", repository)
	for _, component := range components {
		text += fmt.Sprintf("- %s/%s\n", repository, component)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return parse(t, kustomized(t, dir))
}
