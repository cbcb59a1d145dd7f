// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
)

// operatorRole is the ClusterRole with the operator's rights in all namespaces.
const operatorRole, operatorBinding = "ClusterRole/jobrun-manager-role", "ClusterRoleBinding/jobrun-manager-rolebinding"

// clusterGroups are the API groups in that role whose resources have no namespace.
var clusterGroups = []string{"authentication.k8s.io", "authorization.k8s.io"}

// gatewayRole is the ClusterRole with the gateway's rights. It reads in all namespaces, because one watch serves all callers.
const gatewayRole, gatewayBinding = "ClusterRole/jobrun-gateway", "ClusterRoleBinding/jobrun-gateway"

// gatewayWrites are the verbs in that role that the gateway needs only in the namespaces that the operator serves.
var gatewayWrites = []string{"create", "patch", "delete", "trigger"}

// gatewayBindings bind the rights to read what is more than runs: logs and Secrets.
var gatewayBindings = []string{"ClusterRoleBinding/jobrun-gateway-logs", "ClusterRoleBinding/jobrun-gateway-receivers"}

// namespacedRole is a Role, and its RoleBinding, for each namespace that the operator serves.
type namespacedRole struct {
	kind    string // ClusterRole: the RoleBinding binds one that is there already
	name    string
	binding string
	rules   *node
	labels  *node
	subject *node
	// instead says that the object itself is written only if the operator serves all namespaces.
	instead bool
}

// roles lets the operator and the gateway have rights by Roles if the operator serves some namespaces. What has no namespace stays in
// the ClusterRoles.
func (e *editor) roles() {
	e.splitRole(operatorRole, operatorBinding, func(rule *node) (here, everywhere *node) {
		if slices.Contains(clusterGroups, rule.at("apiGroups.0").scalar.Value) {
			return nil, rule
		}
		clusterWide := *rule
		clusterWide.when = append(slices.Clone(rule.when), allNamespaces)
		return rule, &clusterWide
	})
	e.splitRole(gatewayRole, gatewayBinding, gatewayRule)
	for _, id := range gatewayBindings {
		if binding := e.object(id); binding != nil {
			role := binding.body.at("roleRef.name").scalar.Value
			binding.namespaced = newNamespacedRole("ClusterRole", role, binding)
			binding.namespaced.instead = true
		}
	}
}

// allNamespaces holds if the operator serves all namespaces.
const allNamespaces = "not .Values.namespaces"

// splitRole splits the rules of a ClusterRole: what the Role of a served namespace has, and what stays.
func (e *editor) splitRole(roleID, bindingID string, split func(rule *node) (here, everywhere *node)) {
	role, binding := e.object(roleID), e.object(bindingID)
	if role == nil || binding == nil {
		return
	}
	rules := role.body.field("rules")
	role.namespaced = newNamespacedRole("Role", role.name, binding)
	role.namespaced.rules = &node{kind: rules.kind, in: rules.in}
	for i, rule := range rules.items {
		here, everywhere := split(rule)
		rules.items[i] = everywhere
		if here != nil {
			role.namespaced.rules.items = append(role.namespaced.rules.items, here)
		}
	}
}

// gatewayRule moves the verbs of gatewayWrites.
func gatewayRule(rule *node) (here, everywhere *node) {
	if slices.Contains(clusterGroups, rule.at("apiGroups.0").scalar.Value) {
		return nil, rule
	}
	verbs := rule.field("verbs")
	writes := &node{kind: verbs.kind, in: verbs.in}
	for i, verb := range verbs.items {
		if !slices.Contains(gatewayWrites, verb.scalar.Value) {
			continue
		}
		writes.items = append(writes.items, verb)
		clusterWide := *verb
		clusterWide.when = append(slices.Clone(verb.when), allNamespaces)
		verbs.items[i] = &clusterWide
	}
	if len(writes.items) == 0 {
		return nil, rule
	}
	here = &node{kind: rule.kind, in: rule.in}
	for _, f := range rule.fields {
		if f.key == "verbs" {
			f.value = writes
		}
		here.fields = append(here.fields, f)
	}
	return here, rule
}

func newNamespacedRole(kind, name string, binding *object) *namespacedRole {
	return &namespacedRole{
		kind: kind, name: name, binding: binding.name,
		labels: binding.body.at("metadata.labels"), subject: binding.body.field("subjects"),
	}
}

// roles writes the Role and the RoleBinding of each namespace that the operator serves.
func (w *writer) roles(r *namespacedRole) {
	body := &writer{}
	head := func(kind, name string) {
		body.lines = append(body.lines, "---", "apiVersion: rbac.authorization.k8s.io/v1", "kind: "+kind, "metadata:", "  labels:")
		body.mapping(r.labels, 4)
		body.lines = append(body.lines, "  name: "+name, "  namespace: {{ $namespace | quote }}")
	}
	if r.rules != nil {
		head(r.kind, r.name)
		body.value("rules:", r.rules, 0)
	}
	head("RoleBinding", r.binding)
	body.lines = append(body.lines, "roleRef:", "  apiGroup: rbac.authorization.k8s.io", "  kind: "+r.kind, "  name: "+r.name)
	body.value("subjects:", r.subject, 0)

	w.line(0, "{{- range $namespace := .Values.namespaces }}")
	for _, text := range body.lines { // in a range, the dot is the namespace
		w.line(0, strings.ReplaceAll(text, "{{ .Release", "{{ $.Release"))
	}
	w.line(0, "{{- end }}")
	if body.err != nil && w.err == nil {
		w.err = body.err
	}
}

// without removes a field.
func (n *node) without(key string) {
	n.fields = slices.DeleteFunc(n.fields, func(f field) bool { return f.key == key })
}
