// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	manager           = "Deployment/jobrun-controller-manager"
	gatewayDeployment = "Deployment/jobrun-gateway"
	podSpec           = "spec.template.spec"
)

// conditions are the values that each object of a kind, or each object of one name, depends on.
var conditions = map[string]string{
	"CustomResourceDefinition":                      ".Values.crds.install",
	"ValidatingAdmissionPolicy":                     ".Values.policies.enabled",
	"ValidatingAdmissionPolicyBinding":              ".Values.policies.enabled",
	"FlowSchema":                                    ".Values.flowControl.enabled",
	"PriorityLevelConfiguration":                    ".Values.flowControl.enabled",
	"NetworkPolicy":                                 ".Values.networkPolicy.enabled",
	"PodDisruptionBudget/jobrun-controller-manager": budget("manager"),
	"PodDisruptionBudget/jobrun-gateway":            budget("gateway"),
	"ServiceMonitor":                                ".Values.monitoring.serviceMonitor.enabled",
	"PrometheusRule":                                ".Values.monitoring.rules.enabled",
	"ConfigMap":                                     ".Values.monitoring.dashboards.enabled",
}

// budget is the condition of a PodDisruptionBudget. With one replica, it would block each drain of its node.
func budget(group string) string {
	return "and .Values." + group + ".podDisruptionBudget.enabled (gt (int .Values." + group + ".replicas) 1)"
}

// unwanted are the kinds that a chart does not have: Helm creates the namespace.
var unwanted = []string{"Namespace"}

// editor puts expressions into the objects.
type editor struct {
	objects []*object
	err     error
}

// edit puts the chart's values into the objects.
func edit(objects *[]*object, v *values) error {
	*objects = slices.DeleteFunc(*objects, func(o *object) bool { return slices.Contains(unwanted, o.kind) })
	e := &editor{objects: *objects}
	if err := v.readImage(e.node(manager, podSpec+".containers.0.image")); err != nil {
		return err
	}
	for _, value := range v.leaves() {
		e.place(value)
	}
	for _, o := range e.objects {
		e.depend(o)
	}
	e.memory(v)
	e.pods(manager, "manager")
	e.pods(gatewayDeployment, "gateway")
	e.arguments()
	e.certificates()
	e.crds()
	e.webhooks()
	e.networkPolicies()
	e.versions()
	e.monitoring()
	e.roles()
	return e.err
}

func (e *editor) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

// depend makes an object depend on a value, and the labels that extend built-in roles, too.
func (e *editor) depend(o *object) {
	for _, name := range []string{o.kind, o.kind + "/" + o.name} {
		if expression, ok := conditions[name]; ok {
			o.when = append(o.when, expression)
		}
	}
	if labels := o.body.field("metadata").field("labels"); labels != nil {
		for _, label := range labels.fields {
			if strings.HasPrefix(label.key, "rbac.authorization.k8s.io/aggregate-to-") {
				label.value.when = append(label.value.when, ".Values.rbac.aggregate")
			}
		}
	}
}

// object returns the object of a kind and name, as kind/name.
func (e *editor) object(id string) *object {
	kind, name, _ := strings.Cut(id, "/")
	for _, o := range e.objects {
		if o.kind == kind && o.name == name {
			return o
		}
	}
	e.fail("there is no %s: hack/chart names it", id)
	return nil
}

// all returns the objects of a kind.
func (e *editor) all(kind string) (found []*object) {
	for _, o := range e.objects {
		if o.kind == kind {
			found = append(found, o)
		}
	}
	return found
}

// node returns what stands at a path of an object, or nil.
func (e *editor) node(id, path string) *node {
	o := e.object(id)
	if o == nil {
		return nil
	}
	return o.body.at(path)
}

// at returns what stands at a path, or nil. Numbers are the places of items.
func (n *node) at(path string) *node {
	for segment := range strings.SplitSeq(path, ".") {
		if n == nil {
			return nil
		}
		if i, err := strconv.Atoi(segment); err == nil && n.kind == yaml.SequenceNode {
			if i >= len(n.items) {
				return nil
			}
			n = n.items[i]
			continue
		}
		n = n.field(segment)
	}
	return n
}

// put makes a template of what stands at a path. If nothing stands there, it adds the field.
func (e *editor) put(id, path string, t *template) {
	parentPath, key, _ := cutLast(path)
	parent := e.node(id, parentPath)
	if parent == nil {
		e.fail("%s has no %s", id, parentPath)
		return
	}
	if existing := parent.at(key); existing != nil {
		existing.template = t
		return
	}
	parent.fields = append(parent.fields, field{key, &node{in: parent.in, template: t}})
}

// lines adds lines to what stands at a path.
func (e *editor) lines(id, path string, lines ...string) {
	parent := e.node(id, path)
	if parent == nil {
		e.fail("%s has no %s", id, path)
		return
	}
	parent.add(lines...)
}

// add adds lines behind the fields of a mapping, or behind the items of a sequence.
func (n *node) add(lines ...string) {
	added := &node{in: n.in, template: &template{lines: lines}}
	if n.kind == yaml.SequenceNode {
		n.items = append(n.items, added)
		return
	}
	n.fields = append(n.fields, field{"", added})
}

func cutLast(path string) (parent, key string, found bool) {
	i := strings.LastIndex(path, ".")
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// place puts a value where its "from" says, and takes the value's default from there.
func (e *editor) place(v *value) {
	if v.from == "" {
		return
	}
	id, path, _ := strings.Cut(v.from, " ")
	if existing := e.node(id, path); existing != nil {
		v.initial = existing.yaml()
	}
	expression := ".Values." + v.path
	switch v.kind() {
	case "object", "array":
		e.put(id, path, &template{with: expression})
	case "string":
		e.put(id, path, &template{with: expression, isScalar: true})
	case "integer":
		e.put(id, path, &template{inline: expression + " | int"})
	default:
		e.put(id, path, &template{inline: "toJson " + expression})
	}
}

// yaml returns the value in YAML.
func (n *node) yaml() *yaml.Node {
	out := &yaml.Node{Kind: n.kind}
	switch n.kind {
	case yaml.ScalarNode:
		return n.scalar
	case yaml.MappingNode:
		for _, f := range n.fields {
			out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.key}, f.value.yaml())
		}
	default:
		for _, item := range n.items {
			out.Content = append(out.Content, item.yaml())
		}
	}
	return out
}
