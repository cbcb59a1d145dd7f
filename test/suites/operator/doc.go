// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operator tests the operator against a real API server. Three webhook replicas behind one address and the
// controller run in this process. The specs play the Job controller, the kubelet and the garbage collector.
package operator
