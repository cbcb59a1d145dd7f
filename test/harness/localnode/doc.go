// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command localnode is a Kubernetes node without containers: it registers a
// Node and runs each Pod's containers as processes on this machine. It lets a
// control plane run real Jobs where there is no container runtime, for the demo
// and the end-to-end tests. It is built on virtual-kubelet's node package.
//
// # No image is pulled
//
// The image of a container is ignored. Its command runs on this machine, as the
// user that runs localnode, with the files, the network and the rights of that
// user. Nothing is isolated: run only Pods you would run in your own shell, and
// never use localnode in production. A container without a command cannot start
// (the image's entrypoint is not known): it terminates with StartError.
//
// # What a container gets
//
//   - command and args with $(VAR) expanded; PATH from localnode, a HOME of its
//     own, HOSTNAME, and its env and envFrom: values, ConfigMaps, Secrets and
//     fieldRef. Its workingDir, or else an empty directory of its own.
//   - JOBRUN_TERMINATION_LOG, the file whose content becomes the termination
//     message, in every case. Run as root, localnode also puts that file at
//     /dev/termination-log, in a mount namespace of the process's own, unless
//     the container names another terminationMessagePath: that path is not
//     mounted. So a command that works everywhere writes to
//     "${JOBRUN_TERMINATION_LOG:-/dev/termination-log}".
//   - JOBRUN_SERVICE_ACCOUNT, the directory with the token, ca.crt and namespace
//     that a container finds at /var/run/secrets/kubernetes.io/serviceaccount
//     elsewhere, if its Pod names a ServiceAccount other than default. The token
//     is valid for a day, as long as the Pod exists, and is not renewed.
//   - a process group of its own. Like a container it lasts as long as its first
//     process: when that exits, the rest of the group is killed. A deletion sends
//     SIGTERM to the group, and SIGKILL after the grace period. When localnode is
//     itself killed, its groups are killed too.
//   - logs, for kubectl logs with --follow, --tail, --limit-bytes and --previous.
//
// Init containers, restart policies with back-off, activeDeadlineSeconds, exit
// codes, container states, phases and conditions are those of a kubelet. Every
// Pod has the address 127.0.0.1.
//
// # What a container does not get
//
// Other volumes (a Pod that has some still runs, but finds nothing mounted), resource
// limits, resourceFieldRef, security contexts, probes (a container is ready while
// it runs), lifecycle hooks, sidecars (a Pod that has some fails), kubectl exec,
// attach and port-forward, and timestamps in logs. A process that leaves its
// process group, as a daemon does, is not ended.
//
// # The node
//
// The kubelet API serves logs only, on a loopback address, with a certificate
// signed by itself and without asking for credentials: start kube-apiserver
// without --kubelet-certificate-authority. The kubeconfig needs the rights of an
// administrator. A restarted localnode has lost its processes: it fails the Pods
// that it had reported as started, rather than run them again. On SIGINT or
// SIGTERM it deletes the Node and ends all processes, within five seconds; a
// second signal ends them at once.
//
// localnode needs Linux.
package main
