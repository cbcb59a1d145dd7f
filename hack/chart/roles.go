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

// namespacedRole is a Role for each namespace that the operator serves.
type namespacedRole struct {
	name    string
	binding string
	rules   *node
	labels  *node
	subject *node
}

// roles lets the operator have its rights by Roles if it serves some namespaces. What has no namespace stays in the ClusterRole.
func (e *editor) roles() {
	role, binding := e.object(operatorRole), e.object(operatorBinding)
	if role == nil || binding == nil {
		return
	}
	rules := role.body.field("rules")
	namespaced := &node{kind: rules.kind, in: rules.in}
	for i, rule := range rules.items {
		if slices.Contains(clusterGroups, rule.at("apiGroups.0").scalar.Value) {
			continue
		}
		namespaced.items = append(namespaced.items, rule)
		clusterWide := *rule
		clusterWide.when = append(slices.Clone(rule.when), "not .Values.namespaces")
		rules.items[i] = &clusterWide
	}
	role.namespaced = &namespacedRole{
		name: role.name, binding: binding.name, rules: namespaced,
		labels: role.body.at("metadata.labels"), subject: binding.body.field("subjects"),
	}
}

// roles writes the Role and the RoleBinding of each namespace that the operator serves.
func (w *writer) roles(o *object) {
	r := o.namespaced
	body := &writer{}
	head := func(kind, name string) {
		body.lines = append(body.lines, "---", "apiVersion: rbac.authorization.k8s.io/v1", "kind: "+kind, "metadata:", "  labels:")
		body.mapping(r.labels, 4)
		body.lines = append(body.lines, "  name: "+name, "  namespace: {{ $namespace | quote }}")
	}
	head("Role", r.name)
	body.value("rules:", r.rules, 0)
	head("RoleBinding", r.binding)
	body.lines = append(body.lines, "roleRef:", "  apiGroup: rbac.authorization.k8s.io", "  kind: Role", "  name: "+r.name)
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
