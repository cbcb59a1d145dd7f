// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kubectl-jobrun is `kubectl jobrun`, the kubectl plugin. When it is called
// kubectl_complete-jobrun, it completes the plugin's command line for kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/jobrun-dev/jobrun/internal/cli"
)

var version = "dev" // set by the linker

const completerName = "kubectl_complete-jobrun"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	args := os.Args[1:]
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == completerName {
		args = append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	os.Exit(cli.Main(ctx, args, cli.Options{
		Streams: genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
		Version: version,
	}))
}
