// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd embeds CustomResourceDefinitions in the program. So the webhook refuses exactly what the API server would
// refuse after it.
package crd

import _ "embed"

// JobRuns is the CustomResourceDefinition of JobRun, as YAML.
//
//go:embed bases/batch.jobrun.dev_jobruns.yaml
var JobRuns []byte

// JobDefinitions is the CustomResourceDefinition of JobDefinition, as YAML.
//
//go:embed bases/batch.jobrun.dev_jobdefinitions.yaml
var JobDefinitions []byte

// RunKeys is the CustomResourceDefinition of RunKey, as YAML.
//
//go:embed bases/batch.jobrun.dev_runkeys.yaml
var RunKeys []byte
