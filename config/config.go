// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package config has the manifests that an API server needs for JobRun, for pkg/jobruntest.
package config

import "embed"

// Manifests has the CRDs, in crd/bases, and the webhook configurations, webhook/manifests.yaml.
//
//go:embed crd/bases/*.yaml webhook/manifests.yaml
var Manifests embed.FS
