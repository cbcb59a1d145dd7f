// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	managers     = 3
	gateways     = 2
	pollInterval = 100 * time.Millisecond

	// apiTimeout is the API server's request timeout. Like the one in production, it is longer than the timeout of
	// the webhook and shorter than idempotencyGrace.
	apiTimeout = 12 * time.Second
	// reservationGrace is the managers' --reservation-grace, the least one. So creates arrive after it.
	reservationGrace = 2 * time.Second
	// idempotencyGrace is the managers' --idempotency-grace.
	idempotencyGrace = 15 * time.Second
)

var scheme = runtime.NewScheme()

func init() {
	// The clients of this process would log the faults that it injects.
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

// cluster is the control plane, its node, the managers and the gateways, with clients for them.
type cluster struct {
	plane    *controlplane.ControlPlane
	operator *operator.Operator
	network  *network
	// webhook is the link from the API server to the managers.
	webhook  *link
	replicas []*replica
	gateways []*gateway
	traffic  *traffic
	etcd     *clientv3.Client
	// api is an administrator's client.
	api client.Client
	// users is the configuration of the callers' client.
	users *rest.Config
	stop  context.CancelFunc
	say   func(format string, args ...any)
}

// startCluster starts a cluster and waits until it is ready.
func startCluster(ctx context.Context, c Config, say func(string, ...any)) (*cluster, error) {
	plane, err := controlplane.Start(ctx, controlplane.Options{ExtraArgs: map[string][]string{
		"kube-apiserver": {"--request-timeout=" + apiTimeout.String()},
	}})
	if err != nil {
		return nil, err
	}
	cl := &cluster{plane: plane, network: newNetwork(), traffic: newTraffic(), say: say}
	if err := cl.populate(ctx, c); err != nil {
		return nil, errors.Join(err, cl.close())
	}
	return cl, nil
}

func (c *cluster) populate(ctx context.Context, config Config) error {
	var err error
	if c.etcd, err = clientv3.New(clientv3.Config{Endpoints: []string{c.plane.EtcdEndpoint()}, Logger: zap.NewNop()}); err != nil {
		return err
	}
	if c.api, err = clientOf(c.plane.AdminConfig()); err != nil {
		return err
	}
	var group errgroup.Group
	group.Go(func() error {
		_, err := c.plane.StartLocalNode(ctx, filepath.Join(config.Root, "bin", "localnode"), "local")
		return err
	})
	group.Go(func() error { return c.install(ctx, config) })
	if err := group.Wait(); err != nil {
		return err
	}
	kubeconfig, err := c.plane.KubeconfigFor("developer", "developers")
	if err != nil {
		return err
	}
	c.users, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	return err
}

func (c *cluster) install(ctx context.Context, config Config) error {
	var err error
	c.operator, err = operator.Install(ctx, c.plane, operator.Options{
		Root: config.Root, Binary: config.Manager, Base: "config/overlays/gateway",
		Args: []string{"--reservation-grace=" + reservationGrace.String(), "--idempotency-grace=" + idempotencyGrace.String()},
		WebhookVia: func(address string) (string, error) {
			var err error
			if c.webhook, err = c.network.to("webhook", address); err != nil {
				return "", err
			}
			return c.webhook.Listen, nil
		},
	})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	c.stop = stop
	for n := range managers {
		r, err := c.newReplica(n)
		if err != nil {
			return err
		}
		c.replicas = append(c.replicas, r)
		r.keeping.Go(func() { r.keep(running) })
	}
	if err := c.startGateways(ctx, running, config); err != nil {
		return err
	}
	return c.awaitReady(ctx)
}

// awaitReady waits until all managers and gateways work.
func (c *cluster) awaitReady(ctx context.Context) error {
	for _, r := range c.replicas {
		if err := r.awaitMember(ctx); err != nil {
			return err
		}
	}
	for _, g := range c.gateways {
		if err := g.awaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) close() error {
	if c.stop != nil {
		c.stop()
	}
	for _, r := range c.replicas {
		r.keeping.Wait()
	}
	var errs []error
	for _, g := range c.gateways {
		errs = append(errs, g.close())
	}
	if c.operator != nil {
		errs = append(errs, c.operator.Stop())
	}
	for _, r := range c.replicas {
		errs = append(errs, r.gate.close())
	}
	if c.etcd != nil {
		errs = append(errs, c.etcd.Close())
	}
	return errors.Join(append(errs, c.plane.Stop())...)
}

// clientOf returns a client without a rate limit, which does not log warnings.
func clientOf(config *rest.Config) (client.Client, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return api, nil
}
