// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const (
	// GatewayServiceAccount is the ServiceAccount of the gateway in config/gateway.
	GatewayServiceAccount = "jobrun-gateway"
	// GatewayBase installs the operator and the gateway. It is for Options.Base.
	GatewayBase = "config/overlays/gateway"
)

// Gateway is one replica of the gateway.
type Gateway struct {
	*controlplane.Process
	// Address and Metrics are its addresses. No client can verify its certificate.
	Address, Metrics string
}

// StartGateway starts a gateway with the rights of its ServiceAccount, which GatewayBase installs, and waits until it is ready.
func (o *Operator) StartGateway(ctx context.Context, args ...string) (*Gateway, error) {
	kubeconfig, err := o.cp.ServiceAccountKubeconfig(ctx, o.namespace(), GatewayServiceAccount)
	if err != nil {
		return nil, fmt.Errorf("make a kubeconfig for the gateway: %w", err)
	}
	g := &Gateway{}
	for _, address := range []*string{&g.Address, &g.Metrics} {
		if *address, err = controlplane.FreeAddress(); err != nil {
			return nil, err
		}
	}
	g.Process, err = o.cp.Run(controlplane.ProcessSpec{
		Name: "gateway", Path: filepath.Join(o.options.Root, "bin", "manager"), Env: []string{"KUBECONFIG=" + kubeconfig},
		Args: append([]string{"gateway", "--gateway-bind-address=" + g.Address, "--metrics-bind-address=" + g.Metrics}, args...),
	})
	if err != nil {
		return nil, err
	}
	unverified := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return g, g.WaitReady(ctx, controlplane.HTTPReady(unverified, "https://"+g.Address+"/readyz"))
}

// GatewayMetrics reads the metrics of a gateway.
func (o *Operator) GatewayMetrics(ctx context.Context, g *Gateway) (Metrics, error) {
	return o.MetricsAt(ctx, g.Name, g.Metrics)
}
