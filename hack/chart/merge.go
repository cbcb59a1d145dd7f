// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// set is a set of builds: bit i stands for builds[i].
type set uint64

func setOf(all int) set { return 1<<all - 1 }

func (s set) has(i int) bool { return s&(1<<i) != 0 }

// object is one object of the chart.
type object struct {
	kind, name string
	group      string // of its API
	when       []string
	body       *node
	// namespaced has the text of Roles that replace a part of the object if the operator serves some namespaces.
	namespaced *namespacedRole
}

// node is a value in the objects of several builds.
type node struct {
	in     set      // the builds that have it
	when   []string // what else must hold, as expressions
	scalar *yaml.Node
	fields []field // of a mapping
	items  []*node // of a sequence
	kind   yaml.Kind
	// differs is a value of a scalar that some builds have instead. A template must be in its place, or around it.
	differs string
	// template is what the chart has in place of the value.
	template *template
}

type field struct {
	key   string
	value *node
}

func (n *node) field(key string) *node {
	for _, f := range n.fields {
		if f.key == key {
			return f.value
		}
	}
	return nil
}

// mergeObjects merges the objects of the builds.
func mergeObjects(variants [][]*yaml.Node) ([]*object, error) {
	byBuild := make([]map[string]*yaml.Node, len(variants))
	var order []string
	for i, documents := range variants {
		byBuild[i] = map[string]*yaml.Node{}
		var names []string
		for _, document := range documents {
			id := text(document, "kind") + "/" + text(get(document, "metadata"), "name")
			byBuild[i][id] = document
			names = append(names, id)
		}
		order = union(order, names)
	}
	var objects []*object
	for _, id := range order {
		found := map[int]*yaml.Node{}
		for i := range variants {
			if document, ok := byBuild[i][id]; ok {
				found[i] = document
			}
		}
		merged, err := merge(found)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		objects = append(objects, newObject(merged))
	}
	return objects, nil
}

func newObject(body *node) *object {
	o := &object{body: body, kind: body.field("kind").scalar.Value, name: body.field("metadata").field("name").scalar.Value}
	o.group = body.field("apiVersion").scalar.Value
	return o
}

// merge merges the values that some builds have at the same place.
func merge(values map[int]*yaml.Node) (*node, error) {
	merged := &node{}
	var first *yaml.Node
	for i := range builds {
		value, has := values[i]
		if !has {
			continue
		}
		merged.in |= 1 << i
		if first == nil {
			first = value
		}
		if value.Kind != first.Kind {
			return nil, errors.New("the builds have a mapping, a sequence or a scalar at one place: express that in hack/chart")
		}
		if value.Kind == yaml.ScalarNode && (value.Value != first.Value || value.Tag != first.Tag) {
			merged.differs = value.Value
		}
	}
	merged.kind = first.Kind
	switch first.Kind {
	case yaml.ScalarNode:
		merged.scalar = first
	case yaml.MappingNode, yaml.SequenceNode:
		return merged, mergeChildren(merged, values)
	default:
		return nil, fmt.Errorf("a node of kind %d is not supported", first.Kind)
	}
	return merged, nil
}

// mergeChildren merges the fields of mappings, or the items of sequences.
func mergeChildren(merged *node, values map[int]*yaml.Node) error {
	var order []string
	children := map[string]map[int]*yaml.Node{}
	for i := range builds {
		value, has := values[i]
		if !has {
			continue
		}
		ids, nodes := childrenOf(value)
		order = union(order, ids)
		for at, id := range ids {
			if children[id] == nil {
				children[id] = map[int]*yaml.Node{}
			}
			children[id][i] = nodes[at]
		}
	}
	for _, id := range order {
		child, err := merge(children[id])
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if merged.kind == yaml.MappingNode {
			merged.fields = append(merged.fields, field{id, child})
		} else {
			merged.items = append(merged.items, child)
		}
	}
	return nil
}

// childrenOf returns the values in a mapping or a sequence, and what tells which values of other builds are the same: the key, the
// name or the content.
func childrenOf(n *yaml.Node) (ids []string, nodes []*yaml.Node) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			ids, nodes = append(ids, n.Content[i].Value), append(nodes, n.Content[i+1])
		}
		return ids, nodes
	}
	seen := map[string]int{}
	for _, item := range n.Content {
		id := text(item, "name")
		if id == "" {
			content, _ := yaml.Marshal(item)
			id = string(content)
		}
		seen[id]++
		if seen[id] > 1 { // the same content twice
			id += " " + strconv.Itoa(seen[id])
		}
		ids, nodes = append(ids, id), append(nodes, item)
	}
	return ids, nodes
}

// union returns the strings of both lists. What only the second one has stands behind its predecessor there.
func union(first, second []string) []string {
	all := slices.Clone(first)
	at := 0
	for _, s := range second {
		if found := slices.Index(all, s); found >= 0 {
			at = found + 1
			continue
		}
		all = slices.Insert(all, at, s)
		at++
	}
	return all
}
