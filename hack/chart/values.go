// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// values are the values of the chart.
type values struct {
	root *value
	tag  string // of the image in config/
}

// value is one value, or a group of values.
type value struct {
	path        string // for example manager.replicas
	description string
	from        string     // where it stands in config/: an object and a path
	initial     *yaml.Node // the default
	schema      *yaml.Node // nil for a group
	children    []*value
}

func readValues(file string) (*values, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	documents, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	root, err := readValue("", documents[0])
	return &values{root: root}, err
}

func readValue(path string, n *yaml.Node) (*value, error) {
	v := &value{path: path, description: text(n, "description"), from: text(n, "from"), initial: get(n, "default")}
	if v.description == "" && path != "" {
		return nil, fmt.Errorf("hack/chart/values.yaml: %s has no description", path)
	}
	properties := get(n, "properties")
	if properties == nil || text(n, "leaf") == "true" {
		v.schema = clone(n)
		remove(v.schema, func(key string) bool { return key == "from" || key == "leaf" || key == "default" })
		return v, nil
	}
	for i := 0; i < len(properties.Content); i += 2 {
		child, err := readValue(strings.TrimPrefix(path+"."+properties.Content[i].Value, "."), properties.Content[i+1])
		if err != nil {
			return nil, err
		}
		v.children = append(v.children, child)
	}
	return v, nil
}

// leaves returns the values that are no groups.
func (v *values) leaves() (all []*value) {
	var visit func(*value)
	visit = func(v *value) {
		if v.schema != nil {
			all = append(all, v)
		}
		for _, child := range v.children {
			visit(child)
		}
	}
	visit(v.root)
	return all
}

// describe adds a sentence to the description.
func (v *value) describe(sentence string) {
	v.description += " " + sentence
	get(v.schema, "description").Value = v.description
}

// kind returns the type in the schema: "" if there are several.
func (v *value) kind() string {
	if kind := get(v.schema, "type"); kind.Kind == yaml.ScalarNode {
		return kind.Value
	}
	return ""
}

// name returns the last part of the path.
func (v *value) name() string { return v.path[strings.LastIndex(v.path, ".")+1:] }

// defaultValue returns the default: what is written there, or what stands in config/, or nothing.
func (v *value) defaultValue() *yaml.Node {
	switch {
	case v.initial != nil:
		return v.initial
	case v.kind() == "object":
		return &yaml.Node{Kind: yaml.MappingNode}
	case v.kind() == "array":
		return &yaml.Node{Kind: yaml.SequenceNode}
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle}
	}
}

// readImage takes the defaults of the image from config/.
func (v *values) readImage(image *node) error {
	if image == nil {
		return fmt.Errorf("%s has no image", manager)
	}
	name, tag, tagged := strings.Cut(image.scalar.Value, ":")
	registry, repository, found := strings.Cut(name, "/")
	if !tagged || !found {
		return fmt.Errorf("the image %q has no registry or no tag", image.scalar.Value)
	}
	v.tag = tag
	for _, leaf := range v.leaves() {
		switch leaf.path {
		case "image.registry":
			leaf.initial = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: registry}
		case "image.repository":
			leaf.initial = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: repository}
		}
	}
	return nil
}
