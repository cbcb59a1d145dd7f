// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"os"

	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"
)

// realClock is for the functions of pkg/holder, which take a clock.
var realClock = clock.RealClock{}

// Options configure Main. Streams is required.
type Options struct {
	Streams genericiooptions.IOStreams
	// Version is the version of the plugin.
	Version string
	// connect returns a connection to the cluster that the flags name.
	connect func(genericclioptions.RESTClientGetter, Options) (*cluster, error)
	// width returns the number of columns of a terminal; 0 if the writer is not a terminal.
	width func(io.Writer) int
}

// plugin is one invocation.
type plugin struct {
	Options
	config *genericclioptions.ConfigFlags
	// cluster is nil until a command connects.
	*cluster
}

// Main runs the plugin and returns the exit code. args are the arguments after the plugin's name. When ctx ends, the
// plugin stops.
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

// connected connects to the cluster that the flags name. It sends no request.
func (p *plugin) connected() (err error) {
	p.cluster, err = p.connect(p.config, p.Options)
	return err
}

// widthOf returns the number of columns of a terminal. It returns 80 if the terminal does not report them, and 0 if w is
// not a terminal.
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
