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

// Config configures a Suite.
type Config struct {
	// Root is the directory of the repository, with the binaries built under bin.
	Root string
	// Manager is the manager's binary, built with the tag chaos.
	Manager string
	Seed    uint64
	// Duration is how long callers call and faults are injected.
	Duration time.Duration
	// Faults are the names of the faults to inject.
	Faults []string
	// Patience bounds the time from the end of the faults until nothing is under way any more.
	Patience time.Duration
	// HistoryFile is the file for both histories, as JSON lines. Empty means none.
	HistoryFile string
	// Log gets one line for each event. It may be nil.
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
