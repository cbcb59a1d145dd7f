// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// options are the flags and the work of a command.
type options interface {
	// Complete turns the command line and its files into values.
	Complete(cmd *cobra.Command, args []string) error
	// Validate checks the values.
	Validate() error
	// connected connects to the cluster that the kubeconfig and the flags name. It sends no request. It comes after Validate,
	// so that a wrong command line is reported even if the kubeconfig is wrong, too.
	connected() error
	// Run does the work, with requests to the cluster.
	Run(ctx context.Context) error
}

// runE returns the RunE of a command.
func runE(o options) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := o.Complete(cmd, args); err != nil {
			return err
		}
		if err := o.Validate(); err != nil {
			return err
		}
		if err := o.connected(); err != nil {
			return err
		}
		return o.Run(cmd.Context())
	}
}

// named are the options of a command that takes the NAME of a JobRun and no flags.
type named struct {
	*plugin
	name string
}

// Complete parses NAME.
func (o *named) Complete(_ *cobra.Command, args []string) (err error) {
	o.name, err = parseName(args[0])
	return err
}

// Validate leaves the name to the API server's rules, which the client applies.
func (o *named) Validate() error { return nil }

// timeLimited are the options of a command that waits.
type timeLimited struct{ timeout time.Duration }

func (o *timeLimited) addTo(flags *pflag.FlagSet) {
	flags.DurationVar(&o.timeout, "timeout", 0, "Longest time to wait, e.g. 5m. 0 means no limit.")
}

func (o *timeLimited) check() error {
	if o.timeout < 0 {
		return usagef("--timeout %s: must not be negative", o.timeout)
	}
	return nil
}

// within returns a context that ends after a time, with *timeLimit as its cause; 0 means no limit.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, &timeLimit{limit})
}

// first returns the first argument, or "".
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
