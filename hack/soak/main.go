// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command soak sends triggers for a while and checks that the managers' memory and goroutines stay flat (see
// docs/chaos.md). It plots them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jobrun-dev/jobrun/test/chaos"
)

func main() { os.Exit(exitCode()) }

func exitCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context) (err error) {
	seed := flag.Uint64("seed", 1, "seed of what the callers do")
	duration := flag.Duration("duration", 10*time.Minute, "how long the callers send triggers")
	manager := flag.String("manager", filepath.Join("bin", "manager-chaos"), "the manager's binary")
	output := flag.String("output", filepath.Join("bin", "soak.svg"), "file for the plot; the samples are written beside it")
	flag.Parse()
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	suite, err := chaos.Start(ctx, chaos.Config{
		Root: root, Manager: *manager, Seed: *seed, Duration: *duration, Patience: 5 * time.Minute, Log: os.Stdout,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, suite.Stop()) }()
	samples, soaked := suite.Soak(ctx)
	if err := write(*output, samples); err != nil {
		return err
	}
	if soaked == nil {
		fmt.Printf("memory and goroutines stayed flat for %s: see %s\n", *duration, *output)
	}
	return soaked
}

func write(output string, samples []chaos.Sample) error {
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	err = chaos.Plot(file, samples)
	return errors.Join(err, file.Close(), chaos.WriteSamples(strings.TrimSuffix(output, ".svg")+".json", samples))
}
