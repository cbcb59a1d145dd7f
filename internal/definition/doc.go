// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package definition completes a trigger by the JobDefinition of its job: the input by the schema and its defaults, the keys
// by expressions, and the other fields by the definition's defaults.
//
// It is pure: no clients, no clocks. It uses the API server's own code for schemas and CEL, so an input schema means the same
// as the schema of a CustomResourceDefinition.
//
// It also evaluates the expressions of a receiver: whether a delivery triggers the job, and with which input.
//
// It does not look at schedules and templates, and it decides nothing about rights.
package definition
