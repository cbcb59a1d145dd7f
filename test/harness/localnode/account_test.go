// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
)

func TestAccount(t *testing.T) {
	client := fake.NewSimpleClientset()
	client.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
		request := action.(clienttesting.CreateActionImpl)
		bound := request.GetObject().(*authenticationv1.TokenRequest).Spec.BoundObjectRef
		token := strings.Join([]string{"token of", request.Name, "in", request.Namespace, "for", string(bound.UID)}, " ")
		return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{Token: token}}, nil
	})
	config := &rest.Config{Host: "https://127.0.0.1:6443", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("the CA")}}
	api, err := newAPIServer(client, config)
	if err != nil {
		t.Fatal(err)
	}
	const say = `cd "${JOBRUN_SERVICE_ACCOUNT:-/nowhere}" && cat token ca.crt namespace && echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT`
	for name, test := range map[string]struct {
		account, mount, want string
	}{
		"of its own":  {"beater", accountMount, "token of beater in default for 1234the CAdefault127.0.0.1:6443\n"},
		"default":     {"default", accountMount, "/nowhere"},
		"not mounted": {"beater", "/data", "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			container := shell("main", say)
			container.VolumeMounts = []corev1.VolumeMount{{Name: "account", MountPath: test.mount}}
			pod := podOf(corev1.RestartPolicyNever, container)
			pod.Spec.ServiceAccountName = test.account
			r := newPodRun(pod, t.TempDir(), startLauncher(t), func(*corev1.Pod) {})
			r.api = api
			r.run()
			if got := r.logOf("main", false).lastPart(); !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
