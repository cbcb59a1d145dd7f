// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// built returns what each build has: the YAML that a function returns for it.
func built(t *testing.T, text func(build) string) [][]*yaml.Node {
	t.Helper()
	variants := make([][]*yaml.Node, len(builds))
	for i, b := range builds {
		documents, err := parse([]byte(text(b)))
		if err != nil {
			t.Fatal(err)
		}
		variants[i] = documents
	}
	return variants
}

const service = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: jobrun-system}
spec:
  ports:
  - {name: https, port: 443}
`

func TestTemplates(t *testing.T) {
	const head = "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: {{ .Release.Namespace | quote }}\nspec:\n" +
		"  ports:\n  - name: https\n    port: 443\n"
	for name, tc := range map[string]struct {
		text func(build) string
		want string
	}{
		"the same in all builds": {func(build) string { return service }, head},
		"a field of one provider": {
			func(b build) string {
				if b.provider == rotation {
					return service + "  type: NodePort\n"
				}
				return service
			},
			head + "  {{- if eq .Values.certificates.provider \"rotation\" }}\n  type: NodePort\n  {{- end }}\n",
		},
		"items of two providers": {
			func(b build) string {
				if b.provider != rotation {
					return service + "  - {name: a, port: 1}\n  - {name: b, port: 2}\n"
				}
				return service
			},
			head + "  {{- if ne .Values.certificates.provider \"rotation\" }}\n  - name: a\n    port: 1\n  - name: b\n    port: 2\n  {{- end }}\n",
		},
		"an object of a switch": {
			func(b build) string {
				if slices.Contains(b.switches, gateway) {
					return service
				}
				return ""
			},
			"{{- if .Values.gateway.enabled }}\n" + head + "{{- end }}\n",
		},
		"a field of a switch, in an object of another one": {
			func(b build) string {
				switch {
				case slices.Contains(b.switches, gatewayLogs):
					return service + "  type: NodePort\n"
				case slices.Contains(b.switches, gateway):
					return service
				}
				return ""
			},
			"{{- if .Values.gateway.enabled }}\n" + head + "  {{- if .Values.gateway.logs }}\n  type: NodePort\n  {{- end }}\n{{- end }}\n",
		},
		"braces": {
			func(build) string { return service + "  externalName: '{{ $value }} in jobrun-system'\n" },
			head + "  externalName: '{{ \"{{\" }} $value }} in {{ .Release.Namespace }}'\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := mergeObjects(built(t, tc.text))
			if err != nil {
				t.Fatal(err)
			}
			got, err := document(objects[0])
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestWhatNoTemplateCanSay(t *testing.T) {
	objects, err := mergeObjects(built(t, func(b build) string {
		if b.provider == rotation {
			return service
		}
		return strings.ReplaceAll(service, "443", "444")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := document(objects[0]); err == nil || !strings.Contains(err.Error(), `the builds have different values, "443" and "444"`) {
		t.Errorf("values that differ: %v", err)
	}

	objects, err = mergeObjects(built(t, func(b build) string { // with the gateway, or with cert-manager
		if slices.Contains(b.switches, gateway) || b.provider == certManager {
			return service
		}
		return ""
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := document(objects[0]); err == nil || !strings.Contains(err.Error(), "no expression holds for exactly these builds") {
		t.Errorf("one of two switches: %v", err)
	}
}

func TestValueTakesItsPlace(t *testing.T) {
	documents, err := parse([]byte(`
properties:
  type: {type: string, description: The type., from: Service/web spec.type}
  ports: {type: array, description: The ports., from: Service/web spec.ports}
  name: {type: string, default: x, description: A name.}
`))
	if err != nil {
		t.Fatal(err)
	}
	root, err := readValue("", documents[0])
	if err != nil {
		t.Fatal(err)
	}
	objects, err := mergeObjects(built(t, func(build) string { return service }))
	if err != nil {
		t.Fatal(err)
	}
	v, e := &values{root: root}, &editor{objects: objects}
	for _, leaf := range v.leaves() {
		e.place(leaf)
	}
	if e.err != nil {
		t.Fatal(e.err)
	}
	got, err := document(objects[0])
	if err != nil {
		t.Fatal(err)
	}
	const want = `spec:
  {{- with .Values.ports }}
  ports:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.type }}
  type: {{ . | quote }}
  {{- end }}
`
	if !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	text, err := v.yaml()
	const wantValues = `
# The type.
type: ""

# The ports.
ports:
  - name: https
    port: 443

# A name.
name: x
`
	if err != nil || !strings.HasSuffix(text, wantValues) {
		t.Errorf("got\n%s\nerror %v, want\n%s", text, err, wantValues)
	}
}

func TestValueWithoutDescription(t *testing.T) {
	documents, err := parse([]byte("properties: {manager: {description: It., properties: {replicas: {type: integer}}}}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readValue("", documents[0]); err == nil || !strings.Contains(err.Error(), "manager.replicas has no description") {
		t.Errorf("got %v", err)
	}
}

func TestPropertyStringsAreReadBack(t *testing.T) {
	pieces := rapid.SampledFrom([]string{"a", " ", "\n", "\n\n", "  b", "#", ": ", "- ", "'", `"`, `\`, "\t", "true", "1", "%", "{", "|", "é"})
	rapid.Check(t, func(t *rapid.T) {
		value := strings.Join(rapid.SliceOf(pieces).Draw(t, "pieces"), "")
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
		text := "outer:\n  key: " + scalar(n, 4) + "\n  next: 1\n"
		var read struct {
			Outer struct {
				Key  any `yaml:"key"`
				Next int `yaml:"next"`
			} `yaml:"outer"`
		}
		if err := yaml.Unmarshal([]byte(text), &read); err != nil {
			t.Fatalf("%q: %v\n%s", value, err, text)
		}
		if read.Outer.Key != value || read.Outer.Next != 1 {
			t.Fatalf("%q was read as %q\n%s", value, read.Outer.Key, text)
		}
	})
}
