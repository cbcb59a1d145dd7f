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

// The gateway may read Pods and logs, and does so, only with the component that switches that on.
func TestGatewaysLogs(t *testing.T) {
	for name, tc := range map[string]struct {
		manifests manifests
		on        bool
	}{
		"off": {parse(t, kustomized(t, "config/overlays/gateway")), false},
		"on":  {withComponents(t, "config/gateway", "config/gateway/logs"), true},
	} {
		t.Run(name, func(t *testing.T) {
			var resources []string
			for _, binding := range all[rbacv1.ClusterRoleBinding](t, tc.manifests, "ClusterRoleBinding") {
				if !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == gatewayName }) {
					continue
				}
				for _, role := range all[rbacv1.ClusterRole](t, tc.manifests, "ClusterRole") {
					if role.Name == binding.RoleRef.Name {
						for _, rule := range role.Rules {
							resources = append(resources, rule.Resources...)
						}
					}
				}
			}
			if !slices.Contains(resources, "jobruns") || slices.Contains(resources, "pods/log") != tc.on || slices.Contains(resources, "pods") != tc.on {
				t.Errorf("rights on %v", resources)
			}
			for _, deployment := range all[appsv1.Deployment](t, tc.manifests, "Deployment") {
				args := deployment.Spec.Template.Spec.Containers[0].Args
				if slices.Contains(args, "--gateway-logs") != (tc.on && deployment.Name == gatewayName) {
					t.Errorf("%s has %v", deployment.Name, args)
				}
			}
		})
	}
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
