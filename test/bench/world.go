// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	poll     = 50 * time.Millisecond
	patience = 5 * time.Minute
	// callerGroup is the group of the callers. Unlike administrators, they are subject to the API server's queues.
	callerGroup = "bench-callers"
)

// world is the cluster of the benchmark: a control plane, a node that executes nothing, one manager, and a no-op webhook.
type world struct {
	log  io.Writer
	cp   *controlplane.ControlPlane
	op   *operator.Operator
	noop *noopWebhook
	etcd *clientv3.Client

	admin client.WithWatch
	// callers is the configuration of the callers' clients.
	callers *rest.Config
	// jobruns is a client of JobRuns. noops is a client of the copied type that the no-op webhook admits.
	jobruns, noops client.WithWatch

	// gateway is nil until a measure of it begins.
	gateway *gateway

	state      state
	namespaces int
}

func newWorld(ctx context.Context, o Options, store controlplane.Store) (_ *world, err error) {
	w := &world{log: o.Log}
	if w.cp, err = controlplane.Start(ctx, controlplane.Options{Store: store, Log: o.Log}); err != nil {
		return nil, err
	}
	if err := w.populate(ctx, o); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) populate(ctx context.Context, o Options) (err error) {
	if w.etcd, err = w.cp.EtcdClient(); err != nil {
		return err
	}
	if w.admin, err = newClient(w.cp.AdminConfig(), oursScheme); err != nil {
		return err
	}
	var group errgroup.Group
	group.Go(func() error {
		bin := filepath.Join(o.Root, "bin")
		_, err := w.cp.StartKwokNode(ctx, filepath.Join(bin, "kwok"), filepath.Join(bin, "kwok-stages.yaml"), "bench")
		return err
	})
	group.Go(func() (err error) {
		w.op, err = operator.Install(ctx, w.cp, operator.Options{
			Root: o.Root, Base: operator.GatewayBase, Managers: 1, Args: []string{"--leader-elect"},
		})
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if w.noop, err = startNoop(ctx, w.cp); err != nil {
		return fmt.Errorf("start the no-op webhook: %w", err)
	}
	return w.connect(ctx)
}

// connect makes the callers' clients.
func (w *world) connect(ctx context.Context) error {
	if err := w.admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: callerGroup},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: callerGroup}},
	}); err != nil {
		return err
	}
	kubeconfig, err := w.cp.KubeconfigFor("bench-caller", callerGroup)
	if err != nil {
		return err
	}
	if w.callers, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return err
	}
	if w.jobruns, err = newClient(w.callers, oursScheme); err != nil {
		return err
	}
	w.noops, err = newClient(w.callers, noopScheme)
	return err
}

func newClient(config *rest.Config, kinds kinds) (client.WithWatch, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	return client.NewWithWatch(config, client.Options{Scheme: kinds.scheme, Mapper: kinds.mapper})
}

func (w *world) close() error {
	var errs []error
	if w.noop != nil {
		errs = append(errs, w.noop.balancer.Close())
	}
	if w.gateway != nil {
		errs = append(errs, w.gateway.Stop(stopGrace))
	}
	if w.op != nil {
		errs = append(errs, w.op.Stop())
	}
	if w.etcd != nil {
		errs = append(errs, w.etcd.Close())
	}
	return errors.Join(append(errs, w.cp.Stop())...)
}

// namespace creates a namespace, and waits until the control plane's own objects are in it.
func (w *world) namespace(ctx context.Context) (string, error) {
	w.namespaces++
	name := fmt.Sprintf("bench-%d", w.namespaces)
	if err := w.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return "", err
	}
	return name, await(ctx, "the ServiceAccount and the ConfigMap of namespace "+name, func() (bool, error) {
		account := w.admin.Get(ctx, client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{})
		roots := w.admin.Get(ctx, client.ObjectKey{Namespace: name, Name: "kube-root-ca.crt"}, &corev1.ConfigMap{})
		return account == nil && roots == nil, nil
	})
}

// await polls until done returns true.
func await(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if err := pause(ctx, poll); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
