// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd embeds the CustomResourceDefinition of JobRun in the program. So the webhook refuses exactly what
// the API server would refuse after it.
package crd

import _ "embed"

// JobRuns is the CustomResourceDefinition of JobRun, as YAML.
//
//go:embed bases/batch.jobrun.dev_jobruns.yaml
var JobRuns []byte
