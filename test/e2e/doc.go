// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests JobRun as its users meet it: a control plane with etcd, API
// server, Job controller and scheduler, a node that runs Pods as processes, three
// bin/manager processes with the rights of their ServiceAccount, and kubectl.
//
// With E2E_USE_KUBECONFIG=1 the suite runs against the cluster that KUBECONFIG
// names, where JobRun must be installed. The specs labelled "local" then do not
// run: they kill processes, restart the API server, or read etcd, the audit log
// or files of this machine.
package e2e
