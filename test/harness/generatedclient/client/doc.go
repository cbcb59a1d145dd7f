// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package client is generated from a gateway's /openapi.json when the test of test/suites/gateway is executed. This file holds what the
// generated code needs.
package client

import _ "github.com/oapi-codegen/runtime" // what the generated code imports
