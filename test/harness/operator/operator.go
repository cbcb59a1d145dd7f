// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operator installs JobRun on a local control plane and runs its managers as processes. As in the Deployment, they
// have the rights of their ServiceAccount, and one address for the webhook.
package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const (
	// Namespace is the namespace in which config/ installs the operator.
	Namespace = "jobrun-system"
	// ServiceAccount is the ServiceAccount of the operator in config/.
	ServiceAccount = "jobrun-controller-manager"

	startTimeout = 5 * time.Minute // with many runs stored, on a busy machine
	pollInterval = 100 * time.Millisecond
	stopGrace    = 10 * time.Second
)

// Options are the options of Install.
type Options struct {
	// Root is the directory of the repository. It has bin/manager, unless Binary is set.
	Root string
	// Namespace is where to install, by config/namespace. The default is the constant Namespace.
	Namespace string
	// Base is the kustomization of the repository to install. The default is config/default.
	Base string
	// Managers is the number of managers to start.
	Managers int
	// Args are additional arguments of every manager.
	Args []string
	// Binary is the manager's binary. The default is bin/manager.
	Binary string
	// Host is the address at which the API server reaches this machine. The default is 127.0.0.1.
	Host string
	// Apply installs the manifests, with these changes. The default applies Base.
	Apply func(context.Context, ...controlplane.Transform) error
	// WebhookVia returns an address that the API server calls instead of the webhooks' own, for example a proxy's.
	WebhookVia func(address string) (string, error)
}

// Replica has the settings of one manager.
type Replica struct {
	// Kubeconfig is the path of its kubeconfig. The default is Operator.Kubeconfig.
	Kubeconfig string
	// Env is added to its environment.
	Env []string
	// Binary is the path of its binary. The default is that of the Operator.
	Binary string
	// Args are further arguments, after those of the Operator.
	Args []string
}

// Operator is an installation of JobRun.
type Operator struct {
	cp         *controlplane.ControlPlane
	options    Options
	balancer   *controlplane.Balancer
	certs      string
	address    string // that the API server calls for webhooks
	ca         []byte // of the webhooks' certificate
	kubeconfig string
	token      string // of the ServiceAccount scraper

	mu       sync.Mutex // It guards managers.
	managers []*Manager
}

// Manager is one replica.
type Manager struct {
	*controlplane.Process
	// Webhook, Metrics and Probes are its addresses.
	Webhook, Metrics, Probes string
}

// Install applies Options.Base, or what Options.Apply applies, and starts the managers.
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
	host := cmp.Or(o.options.Host, "127.0.0.1")
	if o.balancer, err = controlplane.NewBalancerOn(host); err != nil {
		return fmt.Errorf("listen where the API server calls the webhook: %w", err)
	}
	if o.ca, err = controlplane.NewServingCert(o.certs, host, "localhost"); err != nil {
		return err
	}
	o.address = o.balancer.Addr()
	if via := o.options.WebhookVia; via != nil {
		if o.address, err = via(o.address); err != nil {
			return err
		}
	}
	if err := o.apply(ctx); err != nil {
		return err
	}
	o.kubeconfig, err = o.cp.ServiceAccountKubeconfig(ctx, o.namespace(), ServiceAccount)
	return err
}

// apply applies what the options name.
func (o *Operator) apply(ctx context.Context) error {
	if o.options.Apply == nil {
		return o.Apply(ctx, o.options.Root)
	}
	if err := o.options.Apply(ctx, o.transforms()...); err != nil {
		return err
	}
	return o.served(ctx)
}

// transforms returns how manifests must change for this machine.
func (o *Operator) transforms() []controlplane.Transform {
	return []controlplane.Transform{controlplane.WebhooksAt(o.address, o.ca), controlplane.WithoutReplicas}
}

// Apply applies the manifests of a checkout of the repository, as an upgrade or a rollback does, and waits until the API server
// serves the custom resources. The managers go on.
func (o *Operator) Apply(ctx context.Context, root string) error {
	manifests, err := o.manifests(ctx, root)
	if err != nil {
		return err
	}
	if _, err = o.cp.InstallManifests(ctx, manifests, o.transforms()...); err != nil {
		return err
	}
	return o.served(ctx)
}

// manifests returns what to install from a checkout, in another namespace if the options name one.
func (o *Operator) manifests(ctx context.Context, root string) ([]byte, error) {
	base := cmp.Or(o.options.Base, "config/default")
	dir := filepath.Join(root, base)
	if o.options.Namespace != "" {
		dir = filepath.Join(o.cp.Dir(), "overlay")
		if err := WriteOverlay(dir, root, base, o.options.Namespace); err != nil {
			return nil, err
		}
	}
	manifests, err := o.cp.Kubectl(ctx, "kustomize", dir).Output()
	if err != nil {
		return nil, fmt.Errorf("kubectl kustomize %s: %w", dir, withStderr(err))
	}
	return manifests, nil
}

// WriteOverlay writes a kustomization into dir that installs a base of the repository in another namespace.
func WriteOverlay(dir, root, base, namespace string) error {
	repository, err := filepath.Rel(dir, root)
	if err != nil {
		return fmt.Errorf("find the repository from the overlay: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a directory for the overlay: %w", err)
	}
	overlay := fmt.Sprintf("namespace: %s\nresources: [%s/%s]\ntransformers: [%s/config/namespace]\n", namespace, repository, base, repository)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(overlay), 0o644); err != nil {
		return fmt.Errorf("write the overlay: %w", err)
	}
	return nil
}

func (o *Operator) namespace() string { return cmp.Or(o.options.Namespace, Namespace) }

// served waits until the API server serves the custom resources. A manager that starts earlier exits.
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

// Kubeconfig returns the path of a kubeconfig with the rights of the ServiceAccount.
func (o *Operator) Kubeconfig() string { return o.kubeconfig }

// StartManager starts another replica and waits until it is ready.
func (o *Operator) StartManager(ctx context.Context) (*Manager, error) {
	m, err := o.StartReplica(Replica{})
	if err != nil {
		return nil, err
	}
	return m, o.AwaitReady(ctx, m)
}

// StartReplica starts another replica. It gets webhook requests after AwaitReady.
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
		Path: cmp.Or(r.Binary, o.options.Binary, filepath.Join(o.options.Root, "bin", "manager")),
		Args: slices.Concat(o.managerArgs(m), o.options.Args, r.Args),
		Env:  append([]string{"KUBECONFIG=" + cmp.Or(r.Kubeconfig, o.kubeconfig)}, r.Env...),
	})
	if err != nil {
		return nil, err
	}
	m.Process = process
	o.managers = append(o.managers, m)
	return m, nil
}

// AwaitReady waits until a manager is ready, and adds it to the webhook's backends.
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
		"--namespace=" + o.namespace(), // In a Pod it is the default.
		"--webhook-host=" + host,
		"--webhook-port=" + port,
		"--webhook-cert-path=" + o.certs,
		"--metrics-bind-address=" + m.Metrics,
		"--health-probe-bind-address=" + m.Probes,
	}
}

// Managers returns all replicas that were started, including dead ones.
func (o *Operator) Managers() []*Manager {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.managers)
}

// Rebalance makes the managers that live the webhook's backends, as a Service follows the readiness of its Pods.
func (o *Operator) Rebalance() {
	var live []string
	for _, m := range o.Managers() {
		if !m.Exited() {
			live = append(live, m.Webhook)
		}
	}
	o.balancer.SetBackends(live...)
}

// Retire stops a manager gracefully, as the end of a Pod does: it gets no new connections, and then SIGTERM.
func (o *Operator) Retire(m *Manager, grace time.Duration) error {
	var others []string
	for _, other := range o.Managers() {
		if other != m && !other.Exited() {
			others = append(others, other.Webhook)
		}
	}
	o.balancer.SetBackends(others...)
	return m.Stop(grace)
}

// Kill kills a manager, as a node failure would.
func (o *Operator) Kill(m *Manager) error {
	err := m.Kill9()
	o.Rebalance()
	return err
}

// Stop stops the managers gracefully.
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
