// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operator tests JobRun against a real API server: three webhook replicas
// behind one address, and the controller, in this process. There is no Job
// controller, no kubelet and no garbage collector: the tests play them.
package operator
