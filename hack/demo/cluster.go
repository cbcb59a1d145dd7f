// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// demo has the processes that run during the story.
type demo struct {
	root     string
	cp       *controlplane.ControlPlane
	operator *operator.Operator
	made     *installation // nil if the cluster is the demo's own
	// gateway is the URL of the gateway, or empty in a cluster that is not the demo's own. token is what the story sends to it.
	gateway, token string
}

// start starts the control plane, the node, the operator and its gateway.
func start(ctx context.Context) (*demo, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	d := &demo{root: root}
	began := time.Now()
	d.say("Starting etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback ...")
	if d.cp, err = controlplane.Start(ctx, controlplane.Options{}); err != nil {
		return nil, err
	}
	if err := d.populate(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	d.say("Up after %.0f s.", time.Since(began).Seconds())
	return d, nil
}

func (d *demo) populate(ctx context.Context) error {
	d.say("Starting a node. It runs the commands of Pods as processes of this machine: no image is pulled ...")
	if _, err := d.cp.StartLocalNode(ctx, filepath.Join(d.root, "bin", "localnode"), "localnode"); err != nil {
		return fmt.Errorf("start the node: %w", err)
	}
	d.say("Installing JobRun with `kubectl apply --server-side`, and starting two replicas of its manager, and a gateway ...")
	var err error
	if d.operator, err = operator.Install(ctx, d.cp, operator.Options{Root: d.root, Managers: 2}); err != nil {
		return err
	}
	return d.startGateway(ctx)
}

func (d *demo) stop() error {
	var errs []error
	if d.made != nil {
		d.say("Deleting what the demo made ...")
		errs = append(errs, d.made.removeStory())
	}
	if d.operator != nil {
		errs = append(errs, d.operator.Stop())
	}
	if d.made != nil {
		errs = append(errs, d.made.removeOperator())
	}
	return errors.Join(append(errs, d.cp.Stop())...)
}

func (d *demo) kubectlPath() string {
	return d.cp.Kubectl(context.Background()).Path
}

// replicas says where each replica of the manager, and the gateway, answers, and where its log is.
func (d *demo) replicas() string {
	var b strings.Builder
	for _, m := range d.operator.Managers() {
		fmt.Fprintf(&b, "\n    http://%s/readyz?verbose   https://%s/metrics   %s", m.Probes, m.Metrics, d.cp.LogFile(m.Name))
	}
	if d.gateway != "" {
		fmt.Fprintf(&b, "\n    %s/openapi.json   %s", d.gateway, d.cp.LogFile("gateway"))
	}
	return b.String()
}
