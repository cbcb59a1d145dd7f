// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command demo shows JobRun at work. It starts a Kubernetes control plane, a node, the operator and its gateway on this machine,
// and tells the story of a few runs with kubectl. It leaves nothing behind, unless -keep is set. With -cluster=current it tells the
// story in the cluster of kubectl's current context.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	var o options
	flag.BoolVar(&o.keep, "keep", false, "leave everything up after the story, until Ctrl-C")
	flag.StringVar(&o.cluster, "cluster", clusterLocal, "local: a control plane on this machine; current: the cluster of kubectl's current context")
	flag.StringVar(&o.address, "address", "127.0.0.1", "the address at which the API server of -cluster=current reaches this machine")
	flag.Parse()
	os.Exit(exitCode(o))
}

// The values of -cluster.
const (
	clusterLocal   = "local"
	clusterCurrent = "current"
)

// options are the flags.
type options struct {
	keep    bool
	cluster string
	address string
}

func exitCode(o options) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, o)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Println("\nstopped")
		return 130
	default:
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
}

// startIn starts what the story needs in the cluster of -cluster.
func startIn(ctx context.Context, o options) (*demo, error) {
	switch o.cluster {
	case clusterLocal:
		return start(ctx)
	case clusterCurrent:
		root, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		return startCurrent(ctx, root, o.address)
	}
	return nil, fmt.Errorf("CLUSTER must be %s or %s, not %q", clusterLocal, clusterCurrent, o.cluster)
}

func run(ctx context.Context, o options) (err error) {
	d, err := startIn(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.tell(ctx); err != nil {
		return err
	}
	if o.keep {
		d.say("Everything stays up until Ctrl-C. In another terminal:\n\n"+
			"    export KUBECONFIG=%s\n    export PATH=%s:%s:$PATH\n    kubectl jobrun list",
			d.cp.AdminKubeconfig(), filepath.Dir(d.kubectlPath()), filepath.Join(d.root, "bin"))
		d.say("The replicas of the manager, and the gateway, are processes here, and no Pods:\n%s", d.replicas())
		<-ctx.Done()
	}
	return nil
}
