// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// right is one verb on one resource that a role grants.
type right struct {
	namespace, group, resource, verb string
	names                            []string
}

func (r right) String() string {
	return fmt.Sprintf("%s %s.%s %q in namespace %q", r.verb, r.resource, r.group, r.names, r.namespace)
}

// covers reports whether the right allows a request.
func (r right) covers(e auditv1.Event) bool {
	ref := e.ObjectRef
	resource := ref.Resource
	if ref.Subresource != "" {
		resource += "/" + ref.Subresource
	}
	return e.Verb == r.verb && ref.APIGroup == r.group && resource == r.resource &&
		(r.namespace == "" || ref.Namespace == r.namespace) &&
		(len(r.names) == 0 || slices.Contains(r.names, ref.Name))
}

// operatorsRights returns the rights in the roles that are bound to the operator.
func operatorsRights() []right {
	GinkgoHelper()
	var rights []right
	isOperator := func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Namespace == operator.Namespace && s.Name == operator.ServiceAccount
	}
	var everywhere rbacv1.ClusterRoleBindingList
	Expect(k8s.List(ctx, &everywhere)).To(Succeed())
	for _, binding := range everywhere.Items {
		if slices.ContainsFunc(binding.Subjects, isOperator) {
			var role rbacv1.ClusterRole
			Expect(k8s.Get(ctx, types.NamespacedName{Name: binding.RoleRef.Name}, &role)).To(Succeed())
			rights = append(rights, rightsOf(role.Rules, "")...)
		}
	}
	var inNamespaces rbacv1.RoleBindingList
	Expect(k8s.List(ctx, &inNamespaces)).To(Succeed())
	for _, binding := range inNamespaces.Items {
		if slices.ContainsFunc(binding.Subjects, isOperator) {
			var role rbacv1.Role
			Expect(k8s.Get(ctx, types.NamespacedName{Namespace: binding.Namespace, Name: binding.RoleRef.Name}, &role)).To(Succeed())
			rights = append(rights, rightsOf(role.Rules, binding.Namespace)...)
		}
	}
	return rights
}

func rightsOf(rules []rbacv1.PolicyRule, namespace string) []right {
	var rights []right
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights = append(rights, right{namespace, group, resource, verb, rule.ResourceNames})
				}
			}
		}
	}
	return rights
}
