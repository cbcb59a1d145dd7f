// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// An error names the value.
func TestRefusedValues(t *testing.T) {
	for values, wants := range map[string][]string{
		"manager: {replica: 3}":                               {"manager", "additional properties 'replica' not allowed"},
		"managers: {}":                                        {"additional properties 'managers' not allowed"},
		"manager: {replicas: two}":                            {"/manager/replicas", "got string, want integer"},
		"manager: {replicas: 0}":                              {"manager.replicas must be at least 1: without a replica, the API server refuses all JobRuns"},
		"manager: {replicas: -1}":                             {"/manager/replicas", "minimum"},
		"manager: {extraArgs: [run-ttl=24h]}":                 {"/manager/extraArgs/0"},
		"manager: {affinity: none}":                           {"/manager/affinity"},
		"image: {digest: sha256:abc}":                         {"/image/digest"},
		"image: {pullPolicy: Sometimes}":                      {"/image/pullPolicy"},
		"namespaces: team-a":                                  {"/namespaces", "want array"},
		"namespaces: [Team_A]":                                {"/namespaces/0"},
		"certificates: {provider: vault}":                     {"/certificates/provider", "'rotation', 'cert-manager', 'secret'"},
		"certificates: {provider: secret}":                    {"certificates.secretName is required"},
		"certificates: {provider: secret, secretName: certs}": {"certificates.caBundle is required"},
		"{certificates: {provider: secret, secretName: certs, caBundle: LS0=}, gateway: {enabled: true}}": {"gateway.secretName is required"},
		"certificates: {secretName: certs}":                                   {"only if certificates.provider is secret"},
		"certificates: {issuerRef: {name: internal}}":                         {"only if certificates.provider is cert-manager"},
		"gateway: {receivers: true}":                                          {"gateway.receivers needs gateway.enabled"},
		"gateway: {logs: true}":                                               {"gateway.logs needs gateway.enabled"},
		"gateway: {allowedOrigins: [\"*\"]}":                                  {"gateway.allowedOrigins needs gateway.enabled"},
		"gateway: {secretName: jobs-tls}":                                     {"gateway.secretName needs gateway.enabled"},
		"gateway: {dnsNames: [jobs.example.com]}":                             {"gateway.dnsNames needs gateway.enabled"},
		"gateway: {extraArgs: [--gateway-logs]}":                              {"gateway.extraArgs needs gateway.enabled"},
		"gateway: {ingress: {enabled: true}}":                                 {"gateway.ingress.enabled needs gateway.enabled"},
		"gateway: {httpRoute: {enabled: true}}":                               {"gateway.httpRoute.enabled needs gateway.enabled"},
		"gateway: {enabled: true, ingress: {hosts: [jobs.example.com]}}":      {"gateway.ingress.hosts", "need gateway.ingress.enabled"},
		"gateway: {enabled: true, ingress: {tls: [{secretName: jobs}]}}":      {"gateway.ingress.tls need gateway.ingress.enabled"},
		"gateway: {enabled: true, httpRoute: {parentRefs: [{name: public}]}}": {"gateway.httpRoute.parentRefs", "need gateway.httpRoute.enabled"},
		"gateway: {enabled: true, httpRoute: {hostnames: [a.example.com]}}":   {"gateway.httpRoute.hostnames need gateway.httpRoute.enabled"},
		"gateway: {enabled: true, dnsNames: [jobs.example.com]}":              {"gateway.dnsNames is used only if cert-manager"},
		"{certificates: {provider: cert-manager}, gateway: {enabled: true, secretName: jobs-tls, dnsNames: [jobs.example.com]}}": {"gateway.dnsNames is used only if cert-manager"},
		"networkPolicy: {apiServers: [10.0.0.10]}":             {"/networkPolicy/apiServers/0"},
		"crds: {keep: \"yes\"}":                                {"/crds/keep", "want boolean"},
		"monitoring: {dashboard: {enabled: true}}":             {"additional properties 'dashboard' not allowed"},
		"monitoring: {serviceMonitor: {reader: {user: x}}}":    {"/monitoring/serviceMonitor/reader", "additional properties 'user' not allowed"},
		"gateway: {enabled: true, ingress: {enabled: true}}":   {"gateway.ingress.hosts is required"},
		"gateway: {enabled: true, httpRoute: {enabled: true}}": {"gateway.httpRoute.parentRefs is required"},
		"{certificates: {provider: cert-manager}, gateway: {enabled: true, httpRoute: {enabled: true, parentRefs: [{name: public}]}}}": {"gateway.httpRoute.backendTLS.caCertificateRefs is required"},
		"gateway: {enabled: true, secretName: jobs-tls, httpRoute: {enabled: true, parentRefs: [{name: public}]}}":                     {"gateway.httpRoute.backendTLS.caCertificateRefs is required"},
		"networkPolicy: {enabled: false, apiServers: [10.0.0.10/32]}":                                                                  {"networkPolicy.apiServers needs networkPolicy.enabled"},
		"networkPolicy: {enabled: false, webhookFrom: [{podSelector: {}}]}":                                                            {"networkPolicy.webhookFrom needs networkPolicy.enabled"},
		"networkPolicy: {enabled: false, gatewayFrom: [{podSelector: {}}]}":                                                            {"networkPolicy.gatewayFrom needs networkPolicy.enabled"},
		"monitoring: {serviceMonitor: {reader: {name: p, namespace: m}}}":                                                              {"monitoring.serviceMonitor.reader needs monitoring.serviceMonitor.enabled"},
	} {
		var parsed map[string]any
		if err := yaml.Unmarshal([]byte(values), &parsed); err != nil {
			t.Fatal(err)
		}
		_, err := render(parsed, namespace)
		if err == nil {
			t.Errorf("%s: accepted", values)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", values, err, want)
			}
		}
	}
}

// A chart that has this one as a part passes its values "global" on.
func TestGlobalValuesAreAccepted(t *testing.T) {
	if _, err := render(map[string]any{"global": map[string]any{"region": "eu"}}, namespace); err != nil {
		t.Error(err)
	}
}

func TestLint(t *testing.T) {
	if err := lint(chartDir); err != nil {
		t.Error(err)
	}
}

func TestPack(t *testing.T) {
	dir, date := t.TempDir(), time.Unix(1700000000, 0)
	image := "mirror.example.com:5000/team/jobrun:v1.2.3-rc.1@sha256:" + strings.Repeat("0a", 32)
	file, err := pack(chartDir, "v1.2.3-rc.1", image, date, dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "jobrun-1.2.3-rc.1.tgz"); file != want {
		t.Errorf("wrote %s, want %s", file, want)
	}
	packed, err := loader.LoadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if packed.Metadata.AppVersion != "v1.2.3-rc.1" || packed.Schema == nil || len(packed.Templates) < 20 {
		t.Errorf("packed %+v with %d templates", packed.Metadata, len(packed.Templates))
	}
	if _, err := pack(chartDir, "latest", "", date, dir); err == nil || !strings.Contains(err.Error(), `-version "latest"`) {
		t.Errorf("a version that is none: %v", err)
	}
	if got := imageOf(t, packed, map[string]any{}); got != image {
		t.Errorf("the packed chart installs %s, want %s", got, image)
	}
	if got, want := imageOf(t, packed, map[string]any{"registry": "ghcr.io", "digest": ""}), "ghcr.io/team/jobrun:v1.2.3-rc.1"; got != want {
		t.Errorf("with values, it installs %s, want %s", got, want)
	}
	if text := string(packed.Raw[slices.IndexFunc(packed.Raw, func(f *chart.File) bool { return f.Name == "values.yaml" })].Data); !strings.Contains(text,
		"  # The registry, for example that of a mirror.\n  registry: \"mirror.example.com:5000\"\n") {
		t.Error("the comments of values.yaml are lost")
	}
}

// Helm takes the time at which it writes, so the archive of a chart would differ each time.
func TestPackDates(t *testing.T) {
	date := time.Unix(1700000000, 0)
	file, err := pack(chartDir, "", "", date, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !unzipped.ModTime.IsZero() {
		t.Errorf("gzip has the time %v", unzipped.ModTime)
	}
	archive, files := tar.NewReader(unzipped), 0
	for ; ; files++ {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(date) || !header.AccessTime.IsZero() || !header.ChangeTime.IsZero() {
			t.Errorf("%s has the times %v, %v and %v, want %v alone", header.Name, header.ModTime, header.AccessTime, header.ChangeTime, date)
		}
	}
	if files < 20 {
		t.Errorf("%d files", files)
	}
}

// imageOf returns the image of the manager that a chart installs.
func imageOf(t *testing.T, c *chart.Chart, image map[string]any) string {
	t.Helper()
	manifest, err := renderChart(c, map[string]any{"image": image}, namespace)
	if err != nil {
		t.Fatal(err)
	}
	deployment := as[appsv1.Deployment](t, parse(t, manifest)["Deployment "+namespace+"/jobrun-controller-manager"])
	return deployment.Spec.Template.Spec.Containers[0].Image
}

func TestSetImage(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0a", 32)
	for image, want := range map[string]string{
		"":                                 "ghcr.io/jobrun-dev/jobrun:v0.1.0",
		"ghcr.io/jobrun-dev/jobrun:v0.1.0": "ghcr.io/jobrun-dev/jobrun:v0.1.0",
		"localhost:5000/jobrun:latest":     "localhost:5000/jobrun:latest",
		"example.com/a/b/c" + digest:       "example.com/a/b/c:v0.1.0" + digest,
		"example.com/a/b:v2" + digest:      "example.com/a/b:v2" + digest,
	} {
		c := loaded(t)
		c.Metadata.AppVersion = "v0.1.0"
		if err := setImage(c, image); err != nil {
			t.Errorf("%s: %v", image, err)
		} else if got := imageOf(t, c, map[string]any{}); got != want {
			t.Errorf("%s: it installs %s, want %s", image, got, want)
		}
	}
	for _, image := range []string{"jobrun:v1", "example.com/jobrun", "example.com/jobrun:v1@sha256:0a", "example.com/jobrun:", "/jobrun:v1"} {
		if err := setImage(loaded(t), image); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("-image %q", image)) {
			t.Errorf("%s: got %v", image, err)
		}
	}
}
