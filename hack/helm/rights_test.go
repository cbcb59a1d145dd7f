// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// rightsOf returns the rights of a ServiceAccount, as "namespace verb group/resource". The namespace * stands for all.
func rightsOf(t *testing.T, objects map[string]unstructured.Unstructured, account string) (rights []string) {
	t.Helper()
	for _, object := range objects {
		in := object.GetNamespace()
		switch object.GetKind() {
		case "ClusterRoleBinding":
			in = "*"
		case "RoleBinding":
		default:
			continue
		}
		binding := as[rbacv1.RoleBinding](t, object)
		if !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == account }) {
			continue
		}
		id := fmt.Sprintf("%s %s/%s", binding.RoleRef.Kind, binding.Namespace, binding.RoleRef.Name)
		if binding.RoleRef.Kind == "ClusterRole" {
			id = "ClusterRole /" + binding.RoleRef.Name
		}
		role, ok := objects[id]
		if !ok {
			t.Fatalf("%s binds %s, which is not there", object.GetName(), id)
		}
		for _, rule := range as[rbacv1.Role](t, role).Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights = append(rights, fmt.Sprintf("%s %s %s/%s", in, verb, rule.APIGroups[0], resource))
				}
			}
		}
	}
	slices.Sort(rights)
	return rights
}

func as[T any](t *testing.T, object unstructured.Unstructured) (typed T) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &typed); err != nil {
		t.Fatal(err)
	}
	return typed
}

// With `namespaces`, the gateway writes, reads logs and reads Secrets only there.
func TestGatewayRightsInSomeNamespaces(t *testing.T) {
	objects := rendered(t, valuesOf(t, "namespaced-gateway"))
	want := []string{
		"* create authentication.k8s.io/tokenreviews",
		"* create authorization.k8s.io/subjectaccessreviews",
		"* get batch.jobrun.dev/jobdefinitions",
		"* get batch.jobrun.dev/jobruns",
		"* get batch.jobrun.dev/runkeys",
		"* list /namespaces",
		"* list batch.jobrun.dev/jobdefinitions",
		"* list batch.jobrun.dev/jobruns",
		"* list batch.jobrun.dev/runkeys",
		"* watch batch.jobrun.dev/jobdefinitions",
		"* watch batch.jobrun.dev/jobruns",
		"* watch batch.jobrun.dev/runkeys",
	}
	for _, namespace := range []string{"team-a", "team-b"} {
		for _, right := range []string{
			"create batch.jobrun.dev/jobruns", "delete batch.jobrun.dev/jobruns", "get /pods/log", "list /pods", "list /secrets",
			"patch batch.jobrun.dev/jobruns", "trigger batch.jobrun.dev/jobdefinitions", "watch /secrets",
		} {
			want = append(want, namespace+" "+right)
		}
	}
	if diff := cmp.Diff(want, rightsOf(t, objects, "jobrun-gateway")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The gateway must not watch Secrets where it may not.
	if flag := "--gateway-receiver-namespaces=team-a,team-b"; !slices.Contains(gatewayContainer(t, objects).Args, flag) {
		t.Errorf("the gateway has no flag %s", flag)
	}
}

// With `namespaces` or without, the rights in a served namespace are the same.
func TestGatewayRightsInAllNamespaces(t *testing.T) {
	values := valuesOf(t, "namespaced-gateway")
	want := inNamespace(rightsOf(t, rendered(t, values), "jobrun-gateway"), "team-a")
	delete(values, "namespaces")
	objects := rendered(t, values)
	if diff := cmp.Diff(want, inNamespace(rightsOf(t, objects, "jobrun-gateway"), "team-a")); diff != "" {
		t.Errorf("(-some namespaces +all):\n%s", diff)
	}
	if args := gatewayContainer(t, objects).Args; slices.ContainsFunc(args, func(arg string) bool {
		return arg == "--gateway-receiver-namespaces=" || arg == "--gateway-receiver-namespaces"
	}) {
		t.Errorf("the gateway has an empty list of namespaces: %q", args)
	}
}

// inNamespace returns the rights that hold in a namespace.
func inNamespace(rights []string, namespace string) (held []string) {
	for _, right := range rights {
		var in, verb, resource string
		if _, err := fmt.Sscan(right, &in, &verb, &resource); err == nil && (in == "*" || in == namespace) {
			held = append(held, verb+" "+resource)
		}
	}
	slices.Sort(held)
	return held
}

func gatewayContainer(t *testing.T, objects map[string]unstructured.Unstructured) corev1.Container {
	t.Helper()
	return as[appsv1.Deployment](t, objects["Deployment "+namespace+"/jobrun-gateway"]).Spec.Template.Spec.Containers[0]
}
