// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/virtual-kubelet/virtual-kubelet/log"
	vklogrus "github.com/virtual-kubelet/virtual-kubelet/log/logrus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const usage = `localnode is a Kubernetes node without containers, for demos and tests.

It registers a Node and runs each Pod's containers as processes on this machine,
as the user that runs localnode. IMAGES ARE NOT PULLED and nothing is isolated:
the command of a container must exist here, and a container without a command
cannot start. Never use it in production.

A command leaves its termination message in "$JOBRUN_TERMINATION_LOG".

Usage: localnode [flags]

`

type options struct {
	kubeconfig, nodeName, stateDir, listen string
}

func main() {
	opts := options{}
	flag.StringVar(&opts.kubeconfig, "kubeconfig", "", "kubeconfig `file` of an administrator (default KUBECONFIG, or ~/.kube/config)")
	flag.StringVar(&opts.nodeName, "node-name", "localnode", "`name` of the Node")
	flag.StringVar(&opts.stateDir, "state-dir", "", "`directory` for logs, termination messages and working directories (default a temporary one, removed at the end)")
	flag.StringVar(&opts.listen, "listen", address+":0", "loopback `address` of the kubelet API, which serves kubectl logs; port 0 selects a free port")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "localnode: takes no arguments, but was given %q; see localnode --help\n", flag.Args())
		os.Exit(2)
	}

	logErrorsOnly()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends localnode and its processes at once.
	if err := run(ctx, opts); err != nil {
		fmt.Fprintln(os.Stderr, "localnode:", err)
		os.Exit(1)
	}
}

// logErrorsOnly makes the libraries, which log with logrus and klog, log only errors.
func logErrorsOnly() {
	logger := logrus.New()
	logger.SetLevel(logrus.ErrorLevel)
	log.L = vklogrus.FromLogrus(logrus.NewEntry(logger))
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard) // Errors still go to stderr.
}

func run(ctx context.Context, opts options) (err error) {
	api, err := connect(opts.kubeconfig)
	if err != nil {
		return err
	}
	if opts.stateDir == "" {
		if opts.stateDir, err = os.MkdirTemp("", "localnode-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(opts.stateDir)) }()
	}
	if opts.stateDir, err = filepath.Abs(opts.stateDir); err != nil {
		return err
	}
	dev := filepath.Join(opts.stateDir, "dev")
	if err := os.MkdirAll(dev, 0o700); err != nil {
		return err
	}
	l, err := newLauncher(dev)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	n, err := newLocalNode(api, opts.nodeName, opts.stateDir, opts.listen, l)
	if err != nil {
		return err
	}
	return n.run(ctx, func(kubeletAPI net.Addr) {
		fmt.Printf("localnode: node %s is ready: processes, not containers; kubelet API %s, state in %s, %s\n",
			opts.nodeName, kubeletAPI, opts.stateDir, terminationLogs(l))
	})
}

func terminationLogs(l *launcher) string {
	if l.mountError != nil {
		return fmt.Sprintf("termination messages at $%s only (%v)", terminationLogEnv, l.mountError)
	}
	return fmt.Sprintf("termination messages at $%s and /dev/termination-log", terminationLogEnv)
}

// connect returns the API server that the kubeconfig names. It fails if the API server does not answer.
func connect(kubeconfig string) (*apiServer, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("%w; name a kubeconfig with --kubeconfig or KUBECONFIG", err)
	}
	config.QPS = -1 // A node reports as fast as its processes start and end.
	config.UserAgent = "localnode"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if _, err := client.Discovery().ServerVersion(); err != nil {
		return nil, fmt.Errorf("the API server at %s does not answer: %w", config.Host, err)
	}
	return newAPIServer(client, config)
}
