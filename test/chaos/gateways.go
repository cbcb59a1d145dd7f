// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// gatewayAccount is the ServiceAccount of the gateway in config/gateway.
const gatewayAccount = "jobrun-gateway"

// gateway is one replica of the gateway. Its process is started again whenever it ends, as by a Deployment. It reaches the API
// server through a link of its own, and its callers reach it through another one.
type gateway struct {
	cluster    *cluster
	name       string
	binary     string
	api, front *link
	kubeconfig string
	// address is that of the HTTP API, and metrics that of its metrics.
	address, metrics string
	client           *http.Client
	keeping          sync.WaitGroup
	// underWay is the number of triggers that callers wait for.
	underWay atomic.Int64

	mu sync.Mutex
	// processes are all that were started. The latest is the last one.
	processes []*controlplane.Process
}

// startGateways starts the gateways, which run until the context running is done.
func (c *cluster) startGateways(ctx, running context.Context, config Config) error {
	kubeconfig, err := c.plane.ServiceAccountKubeconfig(ctx, operator.Namespace, gatewayAccount)
	if err != nil {
		return err
	}
	for n := range gateways {
		g := &gateway{
			cluster: c, name: fmt.Sprintf("gateway-%d", n), binary: config.Manager,
			client: &http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // The certificate is self-signed.
			}},
		}
		if err := g.connect(kubeconfig); err != nil {
			return fmt.Errorf("connect %s: %w", g.name, err)
		}
		c.gateways = append(c.gateways, g)
		g.keeping.Go(func() { g.keep(running) })
	}
	return nil
}

// connect makes the links of the gateway, and a kubeconfig with the one to the API server.
func (g *gateway) connect(kubeconfig string) error {
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return err
	}
	for _, server := range config.Clusters {
		target, err := url.Parse(server.Server)
		if err != nil {
			return err
		}
		if g.api, err = g.cluster.network.to("api-of-"+g.name, target.Host); err != nil {
			return err
		}
		server.Server = "https://" + g.api.Listen
	}
	if g.address, err = controlplane.FreeAddress(); err != nil {
		return err
	}
	if g.metrics, err = controlplane.FreeAddress(); err != nil {
		return err
	}
	if g.front, err = g.cluster.network.to(g.name, g.address); err != nil {
		return err
	}
	g.kubeconfig = filepath.Join(g.cluster.plane.Dir(), "kubeconfig", g.name)
	return clientcmd.WriteToFile(*config, g.kubeconfig)
}

// keep runs the gateway until the context is done.
func (g *gateway) keep(ctx context.Context) {
	for ctx.Err() == nil {
		if p := g.start(); p != nil {
			select {
			case <-p.Done():
			case <-ctx.Done():
			}
		}
		pause(ctx, restartPause)
	}
}

// start starts a process. It returns nil if the start fails.
func (g *gateway) start() *controlplane.Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, err := g.cluster.plane.Run(controlplane.ProcessSpec{
		Name: fmt.Sprintf("%s-%d", g.name, len(g.processes)+1), Path: g.binary,
		Args: []string{"gateway", "--gateway-bind-address=" + g.address, "--metrics-bind-address=" + g.metrics},
		// Watches get connections of their own, so that one that is cut off is that of one request.
		Env: []string{"KUBECONFIG=" + g.kubeconfig, "DISABLE_HTTP2=true"},
	})
	if err != nil {
		g.cluster.say("%s does not start: %v", g.name, err)
		return nil
	}
	g.processes = append(g.processes, p)
	return p
}

// process returns the latest process; nil if none was started.
func (g *gateway) process() *controlplane.Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.processes) == 0 {
		return nil
	}
	return g.processes[len(g.processes)-1]
}

// awaitReady waits until the gateway takes requests.
func (g *gateway) awaitReady(ctx context.Context) error {
	client := &http.Client{Timeout: scrapeTimeout, Transport: g.client.Transport}
	ready := controlplane.HTTPReady(client, "https://"+g.address+"/readyz")
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w", g.name, ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

// awaitBusy waits until callers wait for several triggers. It reports false if that does not come in time.
func (g *gateway) awaitBusy(ctx context.Context) bool {
	const several = 4
	for ctx.Err() == nil {
		if p := g.process(); p != nil && !p.Exited() && g.underWay.Load() >= several {
			return true
		}
		pause(ctx, pollInterval/10)
	}
	return false
}

// kill kills the process with SIGKILL.
func (g *gateway) kill() error {
	if p := g.process(); p != nil {
		return p.Kill9()
	}
	return nil
}

// stopFor stops the process for a while, by SIGSTOP. It returns errNoEffect if the process ends before.
func (g *gateway) stopFor(ctx context.Context, d time.Duration) error {
	p := g.process()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return unlessExited(p, err)
	}
	pause(ctx, d)
	return unlessExited(p, p.Signal(syscall.SIGCONT))
}

// close ends the gateway, once the context of keep is done.
func (g *gateway) close() error {
	g.keeping.Wait()
	g.client.CloseIdleConnections()
	return g.kill()
}

// processes returns all processes of managers and gateways that were started.
func (c *cluster) processes() []*controlplane.Process {
	var all []*controlplane.Process
	for _, m := range c.operator.Managers() {
		all = append(all, m.Process)
	}
	for _, g := range c.gateways {
		g.mu.Lock()
		all = append(all, g.processes...)
		g.mu.Unlock()
	}
	return all
}
