// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// get returns the value of a key of a mapping, or nil.
func get(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// text returns the scalar of a key of a mapping, or "".
func text(mapping *yaml.Node, key string) string {
	if value := get(mapping, key); value != nil {
		return value.Value
	}
	return ""
}

// remove removes keys of a mapping.
func remove(mapping *yaml.Node, unwanted func(key string) bool) {
	var kept []*yaml.Node
	for i := 0; i < len(mapping.Content); i += 2 {
		if !unwanted(mapping.Content[i].Value) {
			kept = append(kept, mapping.Content[i], mapping.Content[i+1])
		}
	}
	mapping.Content = kept
}

func clone(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = clone(child)
	}
	return &c
}

// scalar writes a scalar in YAML, at the given depth of indentation. It has several lines if it is a block.
func scalar(n *yaml.Node, indent int) string {
	if n.Tag != "!!str" {
		return n.Value
	}
	value := n.Value
	if strings.Contains(value, "\n") {
		return block(value, indent)
	}
	plain, err := yaml.Marshal(value)
	if line := strings.TrimSuffix(string(plain), "\n"); err == nil && !strings.Contains(line, "\n") {
		return line
	}
	return quoted(value)
}

// quoted writes a string as JSON, which is YAML, too.
func quoted(value string) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("a string cannot be encoded: %v", err))
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// block writes a string as a literal block if it can.
func block(value string, indent int) string {
	body := strings.TrimRight(value, "\n")
	ends := len(value) - len(body)
	if body == "" || ends > 1 || strings.HasPrefix(body, " ") || strings.HasPrefix(body, "\n") || strings.ContainsAny(body, "\t\r") || strings.Contains(body, " \n") {
		return quoted(value)
	}
	header := "|-"
	if ends == 1 {
		header = "|"
	}
	pad := strings.Repeat(" ", indent)
	lines := strings.Split(body, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = pad + line
		}
	}
	return header + "\n" + strings.Join(lines, "\n")
}
