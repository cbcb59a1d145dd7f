// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command localnode is a Kubernetes node without containers. It registers a Node and runs each Pod's containers as
// processes on this machine. With it, a control plane runs real Jobs where there is no container runtime, for the demo and
// the end-to-end tests. It is built on virtual-kubelet's node package. It needs Linux.
//
// # No image is pulled
//
// localnode ignores the image of a container. The container's command runs on this machine, as the user that runs
// localnode, with the files, the network and the rights of that user. Nothing is isolated. Run only Pods that you would
// run in your own shell, and never use localnode in production. A container without a command cannot start, because the
// image's entrypoint is not known: it terminates with StartError. A container whose image has a registry under .invalid
// waits with ImagePullBackOff.
//
// # What a container gets
//
//   - its command and args, with $(VAR) expanded.
//   - its environment: PATH from localnode, its own HOME, HOSTNAME, and its env and envFrom (values, ConfigMaps, Secrets
//     and fieldRef).
//   - its workingDir, or else an empty directory of its own.
//   - JOBRUN_TERMINATION_LOG, always: the path of the file that holds its termination message. If localnode runs as root,
//     the file is also at /dev/termination-log, in a mount namespace of the process's own. If the container names another
//     terminationMessagePath, nothing is mounted. A command that works everywhere writes to
//     "${JOBRUN_TERMINATION_LOG:-/dev/termination-log}".
//   - JOBRUN_SERVICE_ACCOUNT, if its Pod names a ServiceAccount other than default: the directory with the token, ca.crt
//     and namespace that are at /var/run/secrets/kubernetes.io/serviceaccount elsewhere. The token is valid for a day
//     while the Pod exists. It is not renewed.
//   - a process group of its own. When its first process exits, localnode kills the rest of the group. When the Pod is
//     deleted, the group gets SIGTERM, and SIGKILL after the grace period. When localnode itself is killed, its groups are
//     killed too.
//   - logs, for kubectl logs with --follow, --tail, --limit-bytes and --previous.
//
// Init containers, restart policies with back-off, activeDeadlineSeconds, exit codes, container states, phases and
// conditions are those of a kubelet. Every Pod has the address 127.0.0.1.
//
// # What a container does not get
//
//   - other volumes: a Pod that has some runs, and finds nothing mounted.
//   - sidecars: a Pod that has some fails.
//   - probes: a container is ready while it runs.
//   - resource limits, resourceFieldRef, security contexts and lifecycle hooks.
//   - kubectl exec, attach and port-forward, and timestamps in logs.
//   - an end of processes that leave their process group, as daemons do.
//
// # The node
//
// The kubelet API serves only logs, on a loopback address, with a self-signed certificate and without authentication.
// Start kube-apiserver without --kubelet-certificate-authority. The kubeconfig needs the rights of an administrator.
//
// A restarted localnode has lost its processes. It fails the Pods that it had reported as started, and does not run them
// again. On SIGINT or SIGTERM it deletes the Node and ends all processes within five seconds. A second signal ends them at
// once.
package main
