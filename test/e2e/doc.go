// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests JobRun end to end, with kubectl as its user. The suite starts a control plane (etcd, API server, Job
// controller and scheduler), a node that runs Pods as processes, and three bin/manager processes with the rights of their
// ServiceAccount.
//
// With E2E_USE_KUBECONFIG=1 the suite runs against the cluster of KUBECONFIG, in which JobRun must be installed. Specs
// labelled "local" are skipped then: they kill processes, restart the API server, or read etcd, the audit log or files of
// this machine.
package e2e
