// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd carries the CustomResourceDefinitions into the program, so that
// the webhook refuses exactly what the API server would refuse after it.
package crd

import _ "embed"

// JobRuns is the CustomResourceDefinition of JobRun, as YAML.
//
//go:embed bases/batch.jobrun.dev_jobruns.yaml
var JobRuns []byte
