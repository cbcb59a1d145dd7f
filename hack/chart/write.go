// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mark is the first line of each generated template.
const mark = "{{- /* Generated from config/ by `make generate`: see hack/chart. Do not edit. */ -}}"

// configNamespace is the namespace in config/. The chart has that of the release in its place.
const configNamespace = "jobrun-system"

// template is what the chart has in place of a value.
type template struct {
	// inline is the expression of a scalar.
	inline string
	// with is the expression of a value. The field is left out if the value is empty.
	with string
	// isScalar says that the value of with is a string.
	isScalar bool
	// lines are written as they are, at the indentation of the place. "nindent +2" in them counts from there.
	lines []string
}

// writeTemplates writes one file for each kind, and removes the generated files of kinds that are gone.
func writeTemplates(dir string, objects []*object) error {
	files := map[string]string{}
	for _, o := range objects {
		name := strings.ToLower(o.kind) + ".yaml"
		if o.kind == "CustomResourceDefinition" {
			name = "crd-" + strings.Split(o.name, ".")[0] + ".yaml"
		}
		text, err := document(o)
		if err != nil {
			return fmt.Errorf("%s %s: %w", o.kind, o.name, err)
		}
		if files[name] == "" {
			files[name] = mark + "\n"
		}
		files[name] += text
	}
	if err := removeGenerated(dir); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func removeGenerated(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(text), mark) {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// document returns the text of an object.
func document(o *object) (string, error) {
	w := &writer{}
	w.guarded(o.body.in, setOf(len(builds)), o.when, 0, func() {
		var when []string
		if o.namespaced != nil && o.namespaced.instead {
			when = []string{allNamespaces}
		}
		w.guarded(o.body.in, o.body.in, when, 0, func() {
			w.line(0, "---")
			w.mapping(o.body, 0)
		})
		if o.namespaced != nil {
			w.roles(o.namespaced)
		}
	})
	return strings.Join(w.lines, "\n") + "\n", w.err
}

// writer collects the lines of a template.
type writer struct {
	lines []string
	err   error
	// closed is the line that opened what the last line closes, if closedAt is the number of lines.
	closed   string
	closedAt int
}

func (w *writer) line(indent int, text string) {
	w.lines = append(w.lines, strings.Repeat(" ", indent)+text)
}

// guarded writes what holds for some of the outer builds, and only when some expressions hold.
func (w *writer) guarded(in, outer set, when []string, indent int, body func()) {
	expression, err := condition(in, outer)
	if err != nil && w.err == nil {
		w.err = err
	}
	expressions := slices.Clone(when)
	if expression != "" {
		expressions = append([]string{expression}, expressions...)
	}
	if len(expressions) == 0 {
		body()
		return
	}
	open := strings.Repeat(" ", indent) + "{{- if " + all(expressions) + " }}"
	if w.closed == open && w.closedAt == len(w.lines) { // two neighbours with one condition
		w.lines = w.lines[:len(w.lines)-1]
	} else {
		w.lines = append(w.lines, open)
	}
	body()
	w.line(indent, "{{- end }}")
	w.closed, w.closedAt = open, len(w.lines)
}

func (w *writer) mapping(n *node, indent int) {
	for _, f := range n.fields {
		w.guarded(f.value.in, n.in, f.value.when, indent, func() { w.field(f, indent) })
	}
}

func (w *writer) field(f field, indent int) {
	if t := f.value.template; t != nil && w.templated(t, f.key, indent) {
		return
	}
	w.value(scalar(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.key}, 0)+":", f.value, indent)
}

// templated writes a template that has its own lines, and reports whether it is one.
func (w *writer) templated(t *template, key string, indent int) bool {
	switch {
	case t.lines != nil:
		for _, text := range t.lines {
			w.line(indent, absolute(text, indent))
		}
	case t.with != "" && t.isScalar:
		w.line(indent, "{{- with "+t.with+" }}")
		w.line(indent, key+": {{ . | quote }}")
		w.line(indent, "{{- end }}")
	case t.with != "":
		w.line(indent, "{{- with "+t.with+" }}")
		w.line(indent, key+":")
		w.line(indent+2, fmt.Sprintf("{{- toYaml . | nindent %d }}", indent+2))
		w.line(indent, "{{- end }}")
	default:
		return false
	}
	return true
}

var nindent = regexp.MustCompile(`nindent \+(\d+)`)

// absolute replaces the indentation that counts from the place.
func absolute(text string, indent int) string {
	return nindent.ReplaceAllStringFunc(text, func(match string) string {
		more, _ := strconv.Atoi(nindent.FindStringSubmatch(match)[1])
		return fmt.Sprintf("nindent %d", indent+more)
	})
}

// value writes a value behind a prefix: a key, or the dash of an item.
func (w *writer) value(prefix string, n *node, indent int) {
	switch {
	case n.template != nil:
		w.line(indent, prefix+" {{ "+n.template.inline+" }}")
	case n.differs != "":
		if w.err == nil {
			w.err = fmt.Errorf("the builds have different values, %q and %q: express that in hack/chart", n.scalar.Value, n.differs)
		}
	case n.kind == yaml.ScalarNode:
		w.lines = append(w.lines, strings.Repeat(" ", indent)+prefix+" "+literal(n.scalar, indent+2))
	case len(n.fields) == 0 && n.kind == yaml.MappingNode:
		w.line(indent, prefix+" {}")
	case len(n.items) == 0 && n.kind == yaml.SequenceNode:
		w.line(indent, prefix+" []")
	case n.kind == yaml.MappingNode:
		w.line(indent, prefix)
		w.mapping(n, indent+2)
	default:
		w.line(indent, prefix)
		for _, item := range n.items {
			w.guarded(item.in, n.in, item.when, indent, func() { w.item(item, indent) })
		}
	}
}

func (w *writer) item(n *node, indent int) {
	if n.template != nil && w.templated(n.template, "", indent) {
		return
	}
	if n.kind != yaml.MappingNode || n.template != nil {
		w.value("-", n, indent)
		return
	}
	start := len(w.lines)
	w.closed = "" // the last item's
	w.mapping(n, indent+2)
	if strings.HasPrefix(strings.TrimSpace(w.lines[start]), "{{") {
		w.lines = slices.Insert(w.lines, start, strings.Repeat(" ", indent)+"-")
		return
	}
	w.lines[start] = strings.Repeat(" ", indent) + "- " + w.lines[start][indent+2:]
}

// literal writes a scalar of the manifest: with the namespace of the release, and so that Helm leaves its braces alone.
func literal(n *yaml.Node, indent int) string {
	if n.Value == configNamespace {
		return "{{ .Release.Namespace | quote }}"
	}
	text := strings.ReplaceAll(scalar(n, indent), "{{", `{{ "{{" }}`)
	return strings.ReplaceAll(text, configNamespace, "{{ .Release.Namespace }}")
}
