// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package usertests tests pkg/jobruntest as users have it: in modules and packages of their own, several at the same time.
package usertests
