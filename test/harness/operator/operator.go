// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operator installs JobRun on a control plane of this machine and runs
// its managers as processes, as the Deployment would run them as Pods: with the
// rights of their ServiceAccount, and behind one address for the webhook.
package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const (
	// Namespace is where config/ installs the operator.
	Namespace = "jobrun-system"
	// ServiceAccount is whose rights config/ gives the operator.
	ServiceAccount = "jobrun-controller-manager"

	startTimeout = 5 * time.Minute // with many runs stored, on a busy machine
	pollInterval = 100 * time.Millisecond
	stopGrace    = 10 * time.Second
)

// Options of an installation.
type Options struct {
	// Root is the directory of the repository, with bin/manager built in it.
	Root string
	// Managers is how many to run at first.
	Managers int
	// Args are added to those of every manager.
	Args []string
	// Binary is the manager's; bin/manager by default.
	Binary string
	// WebhookVia returns the address that the API server is to call instead of the
	// webhooks' own: that of a proxy, for one.
	WebhookVia func(address string) (string, error)
}

// Replica is what is particular to one manager.
type Replica struct {
	// Kubeconfig, if it is not Operator.Kubeconfig.
	Kubeconfig string
	// Env is added to the environment.
	Env []string
}

// Operator is an installation.
type Operator struct {
	cp         *controlplane.ControlPlane
	options    Options
	balancer   *controlplane.Balancer
	certs      string
	kubeconfig string
	token      string // of whom may read metrics

	mu       sync.Mutex // guards managers
	managers []*Manager
}

// Manager is one replica.
type Manager struct {
	*controlplane.Process
	// Webhook, Metrics and Probes are its addresses.
	Webhook, Metrics, Probes string
}

// Install applies config/default, as `kubectl apply --server-side -k` does, and
// starts the managers.
func Install(ctx context.Context, cp *controlplane.ControlPlane, o Options) (*Operator, error) {
	op := &Operator{cp: cp, options: o, certs: filepath.Join(cp.Dir(), "webhook-certs")}
	if err := op.install(ctx); err != nil {
		return nil, fmt.Errorf("install JobRun: %w", err)
	}
	for range o.Managers {
		if _, err := op.StartManager(ctx); err != nil {
			return nil, err
		}
	}
	return op, nil
}

func (o *Operator) install(ctx context.Context) error {
	var err error
	if o.balancer, err = controlplane.NewBalancer(); err != nil {
		return err
	}
	ca, err := controlplane.NewServingCert(o.certs)
	if err != nil {
		return err
	}
	kustomize := o.cp.Kubectl(ctx, "kustomize", filepath.Join(o.options.Root, "config", "default"))
	manifests, err := kustomize.Output()
	if err != nil {
		return fmt.Errorf("kubectl kustomize config/default: %w", withStderr(err))
	}
	address := o.balancer.Addr()
	if via := o.options.WebhookVia; via != nil {
		if address, err = via(address); err != nil {
			return err
		}
	}
	_, err = o.cp.InstallManifests(ctx, manifests,
		controlplane.WebhooksAt(address, ca), controlplane.WithoutReplicas)
	if err != nil {
		return err
	}
	if err := o.served(ctx); err != nil {
		return err
	}
	o.kubeconfig, err = o.cp.ServiceAccountKubeconfig(ctx, Namespace, ServiceAccount)
	return err
}

// served waits until the API server serves the custom resources: a manager that
// starts before ends again.
func (o *Operator) served(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		output, err := o.cp.Kubectl(ctx, "get", "jobruns.batch.jobrun.dev,runkeys.batch.jobrun.dev").CombinedOutput()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server does not serve JobRuns: %w: %s", err, output)
		case <-time.After(pollInterval):
		}
	}
}

func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return err
}

// Kubeconfig has the rights of the ServiceAccount.
func (o *Operator) Kubeconfig() string { return o.kubeconfig }

// StartManager starts another replica and waits until it is ready.
func (o *Operator) StartManager(ctx context.Context) (*Manager, error) {
	m, err := o.StartReplica(Replica{})
	if err != nil {
		return nil, err
	}
	return m, o.AwaitReady(ctx, m)
}

// StartReplica starts another replica. It takes part in the webhook once it was
// awaited.
func (o *Operator) StartReplica(r Replica) (*Manager, error) {
	m := &Manager{}
	for _, address := range []*string{&m.Webhook, &m.Metrics, &m.Probes} {
		free, err := controlplane.FreeAddress()
		if err != nil {
			return nil, err
		}
		*address = free
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	process, err := o.cp.Run(controlplane.ProcessSpec{
		Name: "manager-" + strconv.Itoa(len(o.managers)+1),
		Path: cmp.Or(o.options.Binary, filepath.Join(o.options.Root, "bin", "manager")),
		Args: append(o.managerArgs(m), o.options.Args...),
		Env:  append([]string{"KUBECONFIG=" + cmp.Or(r.Kubeconfig, o.kubeconfig)}, r.Env...),
	})
	if err != nil {
		return nil, err
	}
	m.Process = process
	o.managers = append(o.managers, m)
	return m, nil
}

// AwaitReady waits until a manager is ready, and lets it take part in the webhook.
func (o *Operator) AwaitReady(ctx context.Context, m *Manager) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := m.WaitReady(ctx, controlplane.HTTPReady(http.DefaultClient, "http://"+m.Probes+"/readyz")); err != nil {
		return err
	}
	o.Rebalance()
	return nil
}

func (o *Operator) managerArgs(m *Manager) []string {
	host, port := split(m.Webhook)
	return []string{
		"--webhook-host=" + host,
		"--webhook-port=" + port,
		"--webhook-cert-path=" + o.certs,
		"--metrics-bind-address=" + m.Metrics,
		"--health-probe-bind-address=" + m.Probes,
		"--leader-elect",
	}
}

// Managers are the replicas that were started, dead ones included.
func (o *Operator) Managers() []*Manager {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.managers)
}

// Rebalance sends triggers to the managers that live, as the endpoints of a
// Service would follow their readiness.
func (o *Operator) Rebalance() {
	var live []string
	for _, m := range o.Managers() {
		if !m.Exited() {
			live = append(live, m.Webhook)
		}
	}
	o.balancer.SetBackends(live...)
}

// Kill ends a manager at once, as a node that dies would.
func (o *Operator) Kill(m *Manager) error {
	err := m.Kill9()
	o.Rebalance()
	return err
}

// Stop ends the managers in good order.
func (o *Operator) Stop() error {
	var failed error
	for _, m := range o.Managers() {
		if err := m.Stop(stopGrace); err != nil && failed == nil {
			failed = err
		}
	}
	if err := o.balancer.Close(); err != nil && failed == nil {
		failed = err
	}
	return failed
}
