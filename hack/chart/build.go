// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// build is one variant of the installation: what kustomize builds for one choice of values.
type build struct {
	provider string   // of the certificates
	switches []string // that are on
	// resources and components are directories in config/.
	resources, components []string
	// certificate is the component with the gateway's certificate.
	certificate string
	// without has the API groups whose objects and annotations the variant leaves out.
	without string
}

// The providers of the certificates: the values of certificates.provider.
const (
	rotation    = "rotation"
	certManager = "cert-manager"
	ownSecret   = "secret"
)

// The switches, as paths of values.
const (
	gateway     = "gateway.enabled"
	gatewayLogs = "gateway.logs"
	receivers   = "gateway.receivers"
)

// builds are all variants. Each provider is built with each combination of the switches.
var builds = allBuilds()

func allBuilds() (all []build) {
	for _, certificates := range []build{
		{provider: rotation, resources: []string{"default"}, certificate: "gateway/cert-rotation"},
		{provider: certManager, resources: []string{"overlays/cert-manager"}, certificate: "gateway/cert-manager"},
		// A Secret of the user is mounted as that of cert-manager is.
		{provider: ownSecret, resources: []string{"overlays/cert-manager"}, certificate: "gateway/certificate", without: "cert-manager.io"},
	} {
		all = append(all, certificates) // without the gateway
		for _, switched := range []build{
			{},
			{switches: []string{gatewayLogs}, components: []string{"gateway/logs"}},
			{switches: []string{receivers}, components: []string{"gateway/receivers"}},
			{switches: []string{gatewayLogs, receivers}, components: []string{"gateway/logs", "gateway/receivers"}},
		} {
			b := certificates
			b.switches = append([]string{gateway}, switched.switches...)
			b.components = slices.Concat([]string{"gateway", b.certificate}, switched.components)
			all = append(all, b)
		}
	}
	return all
}

// always are the kustomizations whose objects are part of each variant.
var always = []string{"prometheus"}

// buildAll builds all variants and merges them.
func buildAll(root string) ([]*object, error) {
	kustomize := newKustomize(root)
	variants := make([][]*yaml.Node, len(builds))
	for i, b := range builds {
		documents, err := kustomize.build(b.resources, b.components)
		if err != nil {
			return nil, err
		}
		variants[i] = b.filter(documents)
	}
	for _, dir := range always {
		documents, err := kustomize.build([]string{dir}, nil)
		if err != nil {
			return nil, err
		}
		for i := range variants {
			variants[i] = append(variants[i], documents...)
		}
	}
	return mergeObjects(variants)
}

// filter removes what belongs to the API group that the variant leaves out.
func (b build) filter(documents []*yaml.Node) []*yaml.Node {
	if b.without == "" {
		return documents
	}
	var kept []*yaml.Node
	for _, document := range documents {
		if strings.HasPrefix(get(document, "apiVersion").Value, b.without+"/") {
			continue
		}
		if metadata := get(document, "metadata"); metadata != nil {
			document = clone(document)
			removeAnnotations(get(document, "metadata"), b.without+"/")
		}
		kept = append(kept, document)
	}
	return kept
}

// removeAnnotations removes the annotations with a prefix, and the field itself if none is left.
func removeAnnotations(metadata *yaml.Node, prefix string) {
	annotations := get(metadata, "annotations")
	if annotations == nil {
		return
	}
	remove(annotations, func(key string) bool { return strings.HasPrefix(key, prefix) })
	if len(annotations.Content) == 0 {
		remove(metadata, func(key string) bool { return key == "annotations" })
	}
}

// kustomize builds kustomizations of the repository. It builds each one once.
type kustomize struct {
	root  string
	built map[string][]*yaml.Node
}

func newKustomize(root string) *kustomize {
	return &kustomize{root: root, built: map[string][]*yaml.Node{}}
}

// build builds directories of config/ together.
func (k *kustomize) build(resources, components []string) ([]*yaml.Node, error) {
	key := strings.Join(slices.Concat(resources, []string{"+"}, components), " ")
	if documents, done := k.built[key]; done {
		return documents, nil
	}
	dir, err := os.MkdirTemp(k.root, ".chart-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var kustomization strings.Builder
	for field, names := range map[string][]string{"resources": resources, "components": components} {
		for i, name := range names {
			if i == 0 {
				kustomization.WriteString(field + ":\n")
			}
			kustomization.WriteString("- ../config/" + name + "\n")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization.String()), 0o600); err != nil {
		return nil, err
	}
	output, err := k.run(dir)
	if err != nil {
		return nil, fmt.Errorf("kustomize build %s: %w", key, err)
	}
	documents, err := parse(output)
	k.built[key] = documents
	return documents, err
}

func (k *kustomize) run(dir string) ([]byte, error) {
	command := exec.Command("go", "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", filepath.Base(dir))
	command.Dir = k.root
	output, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return output, err
}

// parse returns the documents in YAML.
func parse(text []byte) (documents []*yaml.Node, err error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		if len(document.Content) > 0 {
			documents = append(documents, document.Content[0])
		}
	}
}
