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

// TestChaos plays a short scenario with every fault.
func TestChaos(t *testing.T) {
	all := strings.Fields(FaultNames())
	report := playOnce(t, Config{
		Manager: filepath.Join(checkout.Path(), "bin", "manager-chaos"), Seed: shortSeed, Duration: shortDuration, Patience: shortPatience,
	}, all)
	if broken := report.Broken(); len(broken) > 0 {
		t.Errorf("broken: %s", strings.Join(broken, ", "))
	}
	for _, name := range planned(all) {
		if report.Effects[name] == 0 {
			t.Errorf("%s had no effect", name)
		}
	}
	for _, name := range []string{"I1", "I2", "I3", "I4", "I6", "I7", linearizable, answered, oneOutcome, nothingLeft, becomesQuiet} {
		if report.promise(name).Checked == 0 {
			t.Errorf("%s was never checked", name)
		}
	}
}

// TestChaosInTime plays a scenario with punctual faults, under which the strictest promises are checked.
func TestChaosInTime(t *testing.T) {
	report := playOnce(t, Config{
		Manager: filepath.Join(checkout.Path(), "bin", "manager-chaos"), Seed: shortSeed, Duration: shortDuration / 3, Patience: shortPatience,
	}, []string{"refuse", "collide", "cut-webhook", "kill-worker"})
	if broken := report.Broken(); len(broken) > 0 {
		t.Errorf("broken: %s", strings.Join(broken, ", "))
	}
	if report.promise("I8").Checked == 0 {
		t.Error("I8 was never checked")
	}
}

// playOnce plays one scenario on a cluster of its own.
func playOnce(t *testing.T, c Config, faults []string) *Report {
	t.Helper()
	c.Root, c.Log = checkout.Path(), t.Output()
	suite, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := suite.Stop(); err != nil {
			t.Error(err)
		}
	}()
	report, err := suite.Play(t.Context(), faults)
	if err != nil {
		t.Fatal(err)
	}
	report.Print(t.Output())
	return report
}
