// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command demo shows JobRun at work. It starts a Kubernetes control plane, a node and the operator on this machine, and
// tells the story of a few runs with kubectl. It leaves nothing behind, unless -keep is set.
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
	keep := flag.Bool("keep", false, "leave everything up after the story, until Ctrl-C")
	flag.Parse()
	os.Exit(exitCode(*keep))
}

func exitCode(keep bool) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, keep)
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

func run(ctx context.Context, keep bool) (err error) {
	d, err := start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.tell(ctx); err != nil {
		return err
	}
	if keep {
		d.say("Everything stays up until Ctrl-C. In another terminal:\n\n"+
			"    export KUBECONFIG=%s\n    export PATH=%s:%s:$PATH\n    kubectl jobrun list",
			d.cp.AdminKubeconfig(), filepath.Dir(d.kubectlPath()), filepath.Join(d.root, "bin"))
		d.say("The replicas of the manager are processes here, and no Pods:\n%s", d.replicas())
		<-ctx.Done()
	}
	return nil
}
