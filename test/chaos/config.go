// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Config says what to run.
type Config struct {
	// Root is the directory of the repository, with the binaries built under bin.
	Root string
	// Manager is the manager's binary, built with the tag chaos.
	Manager string
	Seed    uint64
	// Duration is how long callers call and faults are injected.
	Duration time.Duration
	// Faults are the names of those to inject, in any combination.
	Faults []string
	// Patience is how long all may take to become quiet.
	Patience time.Duration
	// HistoryFile takes what was recorded, as JSON lines; empty for none.
	HistoryFile string
	// Log is told what happens.
	Log io.Writer
}

func (c Config) validate() error {
	var errs []error
	for _, name := range c.Faults {
		if _, known := faultsByName[name]; !known {
			errs = append(errs, fmt.Errorf("there is no fault %q: there are %s", name, FaultNames()))
		}
	}
	for _, binary := range []string{c.Manager, filepath.Join(c.Root, "bin", "localnode")} {
		if _, err := os.Stat(binary); err != nil {
			errs = append(errs, fmt.Errorf("run `make chaos`, which builds it: %w", err))
		}
	}
	return errors.Join(errs...)
}
