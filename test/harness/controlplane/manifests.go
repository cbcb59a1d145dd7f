// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Transform changes an object before it is installed.
type Transform func(*unstructured.Unstructured) error

// WebhooksAt makes webhook configurations call a host and port of this machine instead of a Service.
func WebhooksAt(address string, caBundle []byte) Transform {
	return func(object *unstructured.Unstructured) error {
		if !slices.Contains([]string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}, object.GetKind()) {
			return nil
		}
		webhooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
		if err != nil {
			return err
		}
		for _, webhook := range webhooks {
			path, _, err := unstructured.NestedString(webhook.(map[string]any), "clientConfig", "service", "path")
			if err != nil {
				return err
			}
			webhook.(map[string]any)["clientConfig"] = map[string]any{
				"url":      "https://" + address + path,
				"caBundle": base64.StdEncoding.EncodeToString(caBundle),
			}
		}
		return unstructured.SetNestedSlice(object.Object, webhooks, "webhooks")
	}
}

// WithoutReplicas sets the replicas of Deployments to 0, because the managers are processes of this machine.
func WithoutReplicas(object *unstructured.Unstructured) error {
	if object.GetKind() != "Deployment" {
		return nil
	}
	return unstructured.SetNestedField(object.Object, int64(0), "spec", "replicas")
}

// TransformManifests applies the transforms to each document of the manifests.
func TransformManifests(manifests []byte, transforms ...Transform) ([]byte, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	var out bytes.Buffer
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		if document, err = transformDocument(document, transforms); err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		out.Write(document)
	}
}

func transformDocument(document []byte, transforms []Transform) ([]byte, error) {
	var object unstructured.Unstructured
	if err := yaml.Unmarshal(document, &object.Object); err != nil || object.Object == nil {
		return nil, err
	}
	for _, transform := range transforms {
		if err := transform(&object); err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return yaml.Marshal(object.Object)
}

// InstallManifests applies YAML with `kubectl apply --server-side`, and returns the output of kubectl.
func (cp *ControlPlane) InstallManifests(ctx context.Context, manifests []byte, transforms ...Transform) (string, error) {
	manifests, err := TransformManifests(manifests, transforms...)
	if err != nil {
		return "", err
	}
	command := cp.Kubectl(ctx, "apply", "--server-side", "-f", "-")
	command.Stdin = bytes.NewReader(manifests)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl apply --server-side: %w\n%s", err, output)
	}
	return string(output), nil
}

// Kubectl returns a kubectl command that uses AdminKubeconfig, unless the arguments name another kubeconfig.
func (cp *ControlPlane) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(cp.assets, "kubectl"), args...)
	command.Env = append(command.Environ(), "KUBECONFIG="+cp.adminKubeconfig)
	return command
}
