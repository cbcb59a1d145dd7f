// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"
)

// realClock is for the functions of pkg/holder, which take a clock.
var realClock = clock.RealClock{}

// Options are what the plugin runs in. Streams is required.
type Options struct {
	Streams genericiooptions.IOStreams
	// Version of the plugin.
	Version string
	// connect reaches the cluster that the flags name.
	connect func(genericclioptions.RESTClientGetter, Options) (*cluster, error)
	// width is how many columns the terminal of a stream has; 0 if it has none.
	width func(io.Writer) int
}

// plugin is one invocation.
type plugin struct {
	Options
	config *genericclioptions.ConfigFlags
}

// Main runs the plugin with the arguments that follow its name, until it is done
// or ctx is, and returns the exit code.
func Main(ctx context.Context, args []string, o Options) int {
	if o.connect == nil {
		o.connect = connect
	}
	if o.width == nil {
		o.width = widthOf
	}
	root := newRoot(o)
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	return report(o.Streams.ErrOut, command.CommandPath(), err)
}

func (p *plugin) connected() (*cluster, error) {
	return p.connect(p.config, p.Options)
}

// widthOf takes a terminal that does not tell for a small one.
func widthOf(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0
	}
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		return width
	}
	return 80
}

// within returns a context that ends after a time, with *timeLimit as its cause; 0 is no limit.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, &timeLimit{limit})
}
