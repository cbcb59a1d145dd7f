// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// accountMount is the path at which the API server mounts a token, the CA and the namespace. accountEnv is the
	// variable with the directory that has them here.
	accountMount = "/var/run/secrets/kubernetes.io/serviceaccount"
	accountEnv   = "JOBRUN_SERVICE_ACCOUNT"

	tokenLifetime = 24 * time.Hour
	tokenTimeout  = 30 * time.Second
)

// apiServer is a client of the API server, and what containers need to connect to it.
type apiServer struct {
	client     kubernetes.Interface
	host, port string
	ca         []byte
}

func newAPIServer(client kubernetes.Interface, config *rest.Config) (*apiServer, error) {
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, err
	}
	address, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address.Host)
	if err != nil {
		host, port = address.Host, "443"
	}
	return &apiServer{client: client, host: host, port: port, ca: config.CAData}, nil
}

// wantsAccount reports whether a container gets the token of its Pod's ServiceAccount. The ServiceAccount default has no
// rights, so its token is left out.
func wantsAccount(pod *corev1.Pod, container *corev1.Container) bool {
	if pod.Spec.ServiceAccountName == "" || pod.Spec.ServiceAccountName == "default" {
		return false
	}
	for _, mount := range container.VolumeMounts {
		if mount.MountPath == accountMount {
			return true
		}
	}
	return false
}

// admit writes the credentials of the Pod's ServiceAccount to a directory, and returns the variables with which a
// container finds them and the API server.
func (a *apiServer) admit(pod *corev1.Pod, dir string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), tokenTimeout)
	defer cancel()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(tokenLifetime / time.Second)),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	account := pod.Spec.ServiceAccountName
	token, err := a.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("token of ServiceAccount %s: %w", account, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for name, content := range map[string]string{"token": token.Status.Token, "ca.crt": string(a.ca), "namespace": pod.Namespace} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return map[string]string{
		accountEnv:                      dir,
		"KUBERNETES_SERVICE_HOST":       a.host,
		"KUBERNETES_SERVICE_PORT":       a.port,
		"KUBERNETES_SERVICE_PORT_HTTPS": a.port,
	}, nil
}
