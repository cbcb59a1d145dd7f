// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"net"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Leader election is off. A controller has no rival here, and with leader election it would end when the API server is
// killed.

func (cp *ControlPlane) newControllerManager(kubeconfig string) *component {
	return &component{
		name: "kube-controller-manager",
		args: []string{
			"--kubeconfig=" + kubeconfig,
			"--secure-port=0",
			"--leader-elect=false",
			"--use-service-account-credentials=true",
			"--service-account-private-key-file=" + cp.pki("service-account.key"),
			"--root-ca-file=" + cp.pki("ca.crt"),
			"--kube-api-qps=500", "--kube-api-burst=1000",
			"--concurrent-job-syncs=20",
		},
		// Pods cannot be created before their ServiceAccount exists.
		probe: func(ctx context.Context) error {
			_, err := cp.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
			return err
		},
	}
}

func (cp *ControlPlane) newScheduler(kubeconfig, address string) *component {
	_, port, _ := net.SplitHostPort(address)
	return &component{
		name: "kube-scheduler",
		args: []string{
			"--kubeconfig=" + kubeconfig,
			"--authentication-kubeconfig=" + kubeconfig,
			"--authorization-kubeconfig=" + kubeconfig,
			"--bind-address=127.0.0.1",
			"--secure-port=" + port,
			"--tls-cert-file=" + cp.pki("serving.crt"),
			"--tls-private-key-file=" + cp.pki("serving.key"),
			"--leader-elect=false",
			"--kube-api-qps=500", "--kube-api-burst=1000",
		},
		probe: HTTPReady(cp.httpClient, "https://"+address+"/readyz"),
	}
}
