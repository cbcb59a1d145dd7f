// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package jobruntest starts an API server with JobRun on it, for the tests of programs that trigger or execute runs.
//
//	func TestSync(t *testing.T) {
//		runs, err := jobrun.NewForConfig(jobruntest.Start(t), "default")
//		...
//	}
//
// Create the JobDefinitions of the test with a client of the same configuration. Triggers of the job may follow at once.
//
// # What it needs
//
//   - KUBEBUILDER_ASSETS names a directory with etcd and kube-apiserver. setup-envtest downloads them:
//     go run sigs.k8s.io/controller-runtime/tools/setup-envtest@latest use -p path
//   - The go command, which builds the operator from the version of JobRun in your go.mod. It does so once, and keeps the
//     binary in your cache directory. JOBRUN_MANAGER names a binary to use instead: `make build` of JobRun writes bin/manager.
//
// # What it does not do
//
// No controller runs but JobRun's, as with envtest. So a Job stays as it is created, and a test ends it by writing its status.
// No garbage collector deletes anything either: a Job that is deleted in the foreground keeps its finalizer, so a cancelled run
// keeps its key until the test removes the finalizer. If the test's process is killed, the servers that it started may live on.
package jobruntest
