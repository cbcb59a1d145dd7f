// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// The built-in roles, which users of a namespace usually have, include rights on JobRuns.
func TestBuiltInRolesIncludeJobRuns(t *testing.T) {
	c := testCluster(t)
	team := c.newNamespace(t)
	for _, role := range []string{"view", "edit", "admin"} {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "user-" + role}},
		}
		if err := c.admin.Create(t.Context(), binding); err != nil {
			t.Fatal(err)
		}
	}
	const view, edit, admin = "view", "edit", "admin"
	tests := []struct {
		resource, subresource string
		verbs                 []string
		allowed               []string
	}{
		{"jobruns", "", []string{"get", "list", "watch"}, []string{view, edit, admin}},
		{"jobruns", "", []string{"create", "update", "patch", "delete"}, []string{edit, admin}},
		{"jobruns", "", []string{"deletecollection"}, []string{admin}},
		{"jobruns", "status", []string{"get"}, []string{view, edit, admin}},
		{"jobruns", "status", []string{"update", "patch"}, nil},
		{"jobdefinitions", "", []string{"get", "list", "watch"}, []string{view, edit, admin}},
		{"jobdefinitions", "", []string{"create", "update", "patch", "delete", "trigger"}, []string{edit, admin}},
		{"jobdefinitions", "", []string{"deletecollection"}, []string{admin}},
		{"jobdefinitions", "status", []string{"get"}, []string{view, edit, admin}},
		{"jobdefinitions", "status", []string{"update", "patch"}, nil},
		{"runkeys", "", []string{"get", "list", "watch"}, []string{view, edit, admin}},
		{"runkeys", "", []string{"create", "update", "patch", "delete", "deletecollection"}, nil},
	}
	for _, test := range tests {
		for _, verb := range test.verbs {
			for _, role := range []string{view, edit, admin} {
				review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
					User: "user-" + role,
					ResourceAttributes: &authorizationv1.ResourceAttributes{
						Namespace: team, Verb: verb,
						Group: v1alpha1.GroupVersion.Group, Resource: test.resource, Subresource: test.subresource,
					},
				}}
				// A controller aggregates the roles, which takes a moment.
				NewWithT(t).Eventually(func(g Gomega) {
					answer := review.DeepCopy()
					g.Expect(c.admin.Create(t.Context(), answer)).To(Succeed())
					g.Expect(answer.Status.Allowed).To(Equal(slices.Contains(test.allowed, role)))
				}).WithTimeout(patience).Should(Succeed(), "%s %s/%s by %s", verb, test.resource, test.subresource, role)
			}
		}
	}
}
