// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// startGateway starts a gateway with its own ServiceAccount, as config/gateway does.
func (d *demo) startGateway(ctx context.Context) error {
	const manifests = "config/gateway/"
	if err := d.quietly(ctx, "apply", "--server-side", "-f", manifests+"service_account.yaml", "-f", manifests+"role.yaml"); err != nil {
		return err
	}
	kubeconfig, err := d.cp.ServiceAccountKubeconfig(ctx, operator.Namespace, "jobrun-gateway")
	if err != nil {
		return err
	}
	address, err := controlplane.FreeAddress()
	if err != nil {
		return err
	}
	process, err := d.cp.Run(controlplane.ProcessSpec{
		Name: "gateway", Path: filepath.Join(d.root, "bin", "manager"), Args: []string{"gateway", "--gateway-bind-address=" + address},
		Env: []string{"KUBECONFIG=" + kubeconfig},
	})
	if err != nil {
		return err
	}
	d.gateway = "https://" + address
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	return process.WaitReady(ctx, controlplane.HTTPReady(client, d.gateway+"/readyz"))
}

// mayTrigger does nothing without a gateway. It gives a ServiceAccount the right to trigger, and gets a token of it.
func (d *demo) mayTrigger(ctx context.Context) error {
	if d.gateway == "" {
		return nil
	}
	for _, args := range [][]string{
		{"create", "serviceaccount", "ci"},
		{"create", "rolebinding", "ci", "--clusterrole=jobrun-trigger", "--serviceaccount=default:ci"},
	} {
		if err := d.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	token, err := d.cp.Kubectl(ctx, "create", "token", "ci").Output()
	d.token = strings.TrimSpace(string(token))
	return err
}

// overHTTP does nothing without a gateway. It triggers the busy key through the gateway.
func (d *demo) overHTTP(ctx context.Context) error {
	if d.gateway == "" {
		return nil
	}
	d.say("   The same over HTTP, by the gateway: a program needs a token and no Kubernetes client. One run waits already, and absorbs this\n" +
		"   trigger: 200, Coalesced.")
	fmt.Printf("$ export GATEWAY=%s AUTH=\"Authorization: Bearer $(kubectl create token ci)\"\n", d.gateway)
	const line = `curl -sk -w '%{http_code}\n' -H "$AUTH" -H 'Content-Type: application/json' \
    "$GATEWAY/v1/namespaces/default/jobs/sync-users/runs" -d '{"input": {"org": "acme"}}'`
	fmt.Println("$ " + line)
	command := exec.CommandContext(ctx, "sh", "-c", line)
	command.Env = append(command.Environ(), "GATEWAY="+d.gateway, "AUTH=Authorization: Bearer "+d.token)
	output, err := command.CombinedOutput()
	fmt.Print(string(output))
	if ctx.Err() != nil {
		return context.Canceled
	}
	absorbed := bytes.Contains(output, []byte(`"disposition":"Coalesced"`)) && bytes.HasSuffix(output, []byte("200\n"))
	if err == nil && !absorbed {
		err = errors.New("the trigger over HTTP was not absorbed")
	}
	return err
}
