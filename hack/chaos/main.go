// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command chaos checks the promises of JobRun while everything around it fails (see docs/chaos.md). It exits with 1 if a
// promise is broken or was not tested, and with 2 after any other error.
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

// each selects all scenarios: no fault, each fault alone, and all faults together.
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
	seed := flag.Uint64("seed", 0, "seed of everything random; 0 draws a seed")
	duration := flag.Duration("duration", 2*time.Minute, "how long faults are injected, in each scenario")
	faults := flag.String("faults", "all", "all, none, names separated by commas, or each: none, every fault alone, then all")
	manager := flag.String("manager", filepath.Join("bin", "manager-chaos"), "the manager's binary")
	output := flag.String("output", filepath.Join("bin", "chaos.json"), "file for the report; the history is written beside it")
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
		broken += len(report.Broken()) + len(report.Untested())
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
