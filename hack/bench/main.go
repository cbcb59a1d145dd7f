// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures what JobRun costs, on a control plane that it starts on this machine. It prints a table, and
// fails if a promise of docs/performance.md is broken. It leaves nothing behind but the files that -json and -markdown name.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/jobrun-dev/jobrun/test/bench"
)

func main() {
	ctrl.SetLogger(logr.Discard()) // Errors are returned.
	os.Exit(exitCode(os.Args[1:]))
}

func exitCode(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, args)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "stopped")
		return 130
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == bench.NoopCommand {
		return bench.ServeNoop(ctx, args[1:])
	}
	o := bench.Options{Log: os.Stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rows := flags.String("rows", "", "measure only these rows, separated by commas: "+strings.Join(bench.Measures(), ", "))
	json := flags.String("json", "", "file for the report as JSON")
	markdown := flags.String("markdown", "", "file for the table of docs/performance.md")
	flags.IntVar(&o.Rounds, "rounds", bench.DefaultRounds, "how often each row is measured")
	flags.Float64Var(&o.Scale, "scale", 1, "factor for the size of the workloads; the goals hold for 1")
	flags.StringVar(&o.Before, "before", "", "another manager's binary, which the rows of admission compare to bin/manager")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rows != "" {
		o.Rows = strings.Split(*rows, ",")
	}
	var err error
	if o.Root, err = os.Getwd(); err != nil {
		return err
	}
	return measure(ctx, o, *json, *markdown)
}

func measure(ctx context.Context, o bench.Options, json, markdown string) error {
	report, err := bench.Run(ctx, o)
	if report == nil {
		return err
	}
	err = errors.Join(err, report.Print(os.Stdout))
	if json != "" {
		err = errors.Join(err, report.WriteJSON(json))
	}
	if markdown != "" {
		err = errors.Join(err, report.WriteMarkdown(markdown))
	}
	if broken := report.Broken(); len(broken) > 0 {
		err = errors.Join(err, fmt.Errorf("promises of docs/performance.md are broken: %s", strings.Join(broken, ", ")))
	}
	return err
}
