package chaos

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	shortSeed     = 1
	shortDuration = 30 * time.Second
	shortPatience = 4 * time.Minute
)

// TestChaos injects every fault once into a short run.
func TestChaos(t *testing.T) {
	all := strings.Fields(FaultNames())
	report := playOnce(t, Config{
		Manager: filepath.Join(root(t), "bin", "manager-chaos"), Seed: shortSeed, Duration: shortDuration, Patience: shortPatience,
	}, all)
	if broken := report.Broken(); len(broken) > 0 {
		t.Errorf("broken: %s", strings.Join(broken, ", "))
	}
	for _, name := range planned(all) {
		if !slices.ContainsFunc(report.Plan, func(i Injection) bool { return i.Fault == name }) {
			t.Errorf("%s was not injected", name)
		}
	}
	for _, name := range []string{"I1", "I2", "I3", "I4", "I6", "I7", "I8", linearizable, answered, oneOutcome, nothingLeft, becomesQuiet} {
		if report.promise(name).Checked == 0 {
			t.Errorf("%s was never put to the test", name)
		}
	}
}

func root(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// playOnce plays one scenario on a cluster of its own.
func playOnce(t *testing.T, c Config, faults []string) *Report {
	t.Helper()
	c.Root, c.Log = root(t), t.Output()
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
