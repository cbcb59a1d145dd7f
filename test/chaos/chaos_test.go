// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

const (
	shortSeed     = 1
	shortDuration = 30 * time.Second
	shortPatience = 4 * time.Minute
)

// inTime has punctual faults, under which the strictest promises are checked.
var inTime = []string{"refuse", "collide", "cut-webhook", "kill-worker"}

// TestChaos plays two short scenarios on one cluster: one with every fault, and one with punctual faults.
func TestChaos(t *testing.T) {
	suite := start(t, Config{
		Manager: filepath.Join(checkout.Path(), "bin", "manager-chaos"), Seed: shortSeed, Duration: shortDuration, Patience: shortPatience,
	})
	for _, faults := range [][]string{strings.Fields(FaultNames()), inTime} {
		report := play(t, suite, faults)
		if broken := report.Broken(); len(broken) > 0 {
			t.Errorf("broken: %s", strings.Join(broken, ", "))
		}
		if untested := report.Untested(); len(untested) > 0 {
			t.Errorf("not tested: %s", strings.Join(untested, ", "))
		}
		suite.config.Duration = shortDuration / 3
	}
}

// start starts a cluster for the test.
func start(t *testing.T, c Config) *Suite {
	t.Helper()
	c.Root, c.Log = checkout.Path(), t.Output()
	suite, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := suite.Stop(); err != nil {
			t.Error(err)
		}
	})
	return suite
}

// play plays one scenario.
func play(t *testing.T, suite *Suite, faults []string) *Report {
	t.Helper()
	report, err := suite.Play(t.Context(), faults)
	if err != nil {
		t.Fatal(err)
	}
	report.Print(t.Output())
	return report
}
