// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command chaos shows that the promises of JobRun hold while everything around
// it fails (see docs/chaos.md). It exits with 1 if one is broken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jobrun-dev/jobrun/test/chaos"
)

// each stands for all scenarios: without faults, each fault alone, and all of them.
const each = "each"

func main() { os.Exit(exitCode()) }

func exitCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	broken, err := run(ctx)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	case broken > 0:
		return 1
	default:
		return 0
	}
}

func run(ctx context.Context) (broken int, err error) {
	seed := flag.Uint64("seed", 0, "what is drawn is drawn from this; 0 draws a seed")
	duration := flag.Duration("duration", 2*time.Minute, "how long faults are injected, in each scenario")
	faults := flag.String("faults", "all", "all, none, names with commas between them, or each: every one alone, then all")
	manager := flag.String("manager", filepath.Join("bin", "manager-chaos"), "the manager's binary")
	output := flag.String("output", filepath.Join("bin", "chaos.json"), "where the report goes; the history goes beside it")
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64N(1 << 32)
	}
	scenarios, err := scenariosOf(*faults)
	if err != nil {
		return 0, err
	}
	root, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	suite, err := chaos.Start(ctx, chaos.Config{
		Root: root, Manager: *manager, Seed: *seed, Duration: *duration, Patience: 5 * time.Minute, Log: os.Stdout,
		HistoryFile: strings.TrimSuffix(*output, ".json") + "-history.jsonl",
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, suite.Stop()) }()
	var reports []*chaos.Report
	for _, scenario := range scenarios {
		report, err := suite.Play(ctx, scenario)
		if err != nil {
			return broken, err
		}
		report.Print(os.Stdout)
		reports = append(reports, report)
		broken += len(report.Broken())
		if err := chaos.WriteJSON(*output, reports); err != nil {
			return broken, err
		}
		if broken > 0 {
			fmt.Printf("\nthe history is in %s\n", strings.TrimSuffix(*output, ".json")+"-history.jsonl")
			break
		}
	}
	return broken, nil
}

func scenariosOf(text string) ([][]string, error) {
	if text != each {
		faults, err := chaos.ParseFaults(text)
		return [][]string{faults}, err
	}
	scenarios := [][]string{nil}
	all := strings.Fields(chaos.FaultNames())
	for _, name := range all {
		scenarios = append(scenarios, []string{name})
	}
	return append(scenarios, all), nil
}
