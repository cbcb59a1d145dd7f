// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

const tokenLifetime = 7 * 24 * time.Hour

// AdminKubeconfig returns the path of a kubeconfig with all rights. Its user is in system:masters, which bypasses RBAC and
// priority levels.
func (cp *ControlPlane) AdminKubeconfig() string { return cp.adminKubeconfig }

// AdminConfig returns the client configuration of AdminKubeconfig, without client-side rate limits.
func (cp *ControlPlane) AdminConfig() *rest.Config { return rest.CopyConfig(cp.adminConfig) }

// KubeconfigFor writes a kubeconfig for a user with a client certificate, and returns its path.
func (cp *ControlPlane) KubeconfigFor(user string, groups ...string) (string, error) {
	certPEM, keyPEM, err := cp.ca.clientCert(user, groups...)
	if err != nil {
		return "", fmt.Errorf("certificate for %s: %w", user, err)
	}
	return cp.writeKubeconfig(user, &api.AuthInfo{ClientCertificateData: certPEM, ClientKeyData: keyPEM})
}

// ServiceAccountKubeconfig writes a kubeconfig with a token of the ServiceAccount, and returns its path.
func (cp *ControlPlane) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) (string, error) {
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(tokenLifetime.Seconds()))},
	}
	token, err := cp.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	return cp.writeKubeconfig(namespace+"-"+name, &api.AuthInfo{Token: token.Status.Token})
}

func (cp *ControlPlane) writeKubeconfig(name string, auth *api.AuthInfo) (string, error) {
	const cluster = "jobrun"
	config := api.NewConfig()
	config.Clusters[cluster] = cp.cluster()
	config.AuthInfos[name] = auth
	config.Contexts[cluster] = &api.Context{Cluster: cluster, AuthInfo: name}
	config.CurrentContext = cluster
	path := filepath.Join(cp.dir, "kubeconfig", filepath.Base(name))
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("kubeconfig of %s: %w", name, err)
	}
	return path, nil
}

// cluster returns how clients reach and verify the API server.
func (cp *ControlPlane) cluster() *api.Cluster {
	if cp.attached != nil {
		return cp.attached
	}
	return &api.Cluster{Server: cp.apiServerURL(), CertificateAuthorityData: cp.ca.pem}
}
