// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"net"
	"path/filepath"
	"time"
)

const apiServerGrace = 30 * time.Second

// auditPolicy logs every request once, with the code of its answer and without bodies. That is enough to compare requests
// with a role.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

func (cp *ControlPlane) newAPIServer() *component {
	_, port, _ := net.SplitHostPort(cp.apiServerAddress)
	args := []string{
		"--bind-address=127.0.0.1",
		"--secure-port=" + port,
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // Endpoints must not name a loopback address
		"--service-cluster-ip-range=10.0.0.0/24",
		"--etcd-servers=" + cp.EtcdEndpoint(),
		"--tls-cert-file=" + cp.pki("serving.crt"),
		"--tls-private-key-file=" + cp.pki("serving.key"),
		"--client-ca-file=" + cp.pki("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-signing-key-file=" + cp.pki("service-account.key"),
		"--service-account-key-file=" + cp.pki("service-account.key"),
		"--authorization-mode=RBAC",
		"--enable-priority-and-fairness=true",
		"--shutdown-watch-termination-grace-period=2s", // Without it, watches delay the end by a minute.
		// The logs of a Pod come from its node. No authority for kubelets is set, so their certificates are not
		// checked: a node may make its own.
		"--kubelet-preferred-address-types=InternalIP",
	}
	if cp.options.AuditLog {
		args = append(args, "--audit-policy-file="+cp.pki("audit-policy.yaml"), "--audit-log-path="+cp.AuditLogFile())
	}
	return &component{name: "kube-apiserver", args: args, probe: HTTPReady(cp.httpClient, cp.apiServerURL()+"/readyz")}
}

func (cp *ControlPlane) apiServerURL() string { return "https://" + cp.apiServerAddress }

// AuditLogFile returns the path of the API server's audit log, which has one JSON event per line.
func (cp *ControlPlane) AuditLogFile() string { return filepath.Join(cp.dir, "audit.log") }

// KillAPIServer ends the API server as kill -9 does.
func (cp *ControlPlane) KillAPIServer() error { return cp.apiServer.process.Kill9() }

// StartAPIServer starts the API server again, on its address, and waits until it is ready.
func (cp *ControlPlane) StartAPIServer(ctx context.Context) error { return cp.start(ctx, cp.apiServer) }

// RestartAPIServer stops the API server gracefully and starts it again.
func (cp *ControlPlane) RestartAPIServer(ctx context.Context) error {
	if err := cp.apiServer.process.Stop(apiServerGrace); err != nil {
		return err
	}
	return cp.StartAPIServer(ctx)
}
