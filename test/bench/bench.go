// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// DefaultRounds is the default of Options.Rounds in hack/bench.
const DefaultRounds = 5

// Options are the options of Run.
type Options struct {
	// Root is the directory of the repository. It has bin/manager and bin/kwok.
	Root string
	// Rows are the names of the measures to run, from Measures. If it is empty, all are run.
	Rows []string
	// Rounds is how often each row is measured, at least 1.
	Rounds int
	// Scale is a factor for the size of the workloads. The full size is 1.
	Scale float64
	// Before is the path of another manager's binary. If it is set, the rows of admission compare both binaries, too.
	Before string
	// Log receives the progress.
	Log io.Writer
}

// size scales the size of a workload.
func (o Options) size(full int) int { return max(int(float64(full)*o.Scale), 1) }

func (o Options) validate() error {
	var errs []error
	if o.Rounds < 1 {
		errs = append(errs, fmt.Errorf("there must be at least 1 round, not %d", o.Rounds))
	}
	if o.Scale <= 0 {
		errs = append(errs, fmt.Errorf("the scale must be positive, not %g", o.Scale))
	}
	for _, row := range o.Rows {
		if !slices.Contains(Measures(), row) {
			errs = append(errs, fmt.Errorf("there is no row %q; the rows are %s", row, strings.Join(Measures(), ", ")))
		}
	}
	return errors.Join(errs...)
}

// measure is one experiment. It gives one or more rows of the table.
type measure struct {
	name string
	// state is the state of the controller during the experiment.
	state state
	run   func(context.Context, *world, Options) ([]Result, error)
}

// measures returns all measures, in an order that rarely changes the controller's state.
func measures() []measure {
	return slices.Concat(admissionMeasures(idle), []measure{
		{"definitions", idle, measureDefinitions},
		{"gateway-keys", idle, measureGatewayKeys},
		{"gateway-latency", idle, measureGatewayLatency},
	}, admissionMeasures(working), []measure{
		{"gateway-absorb", working, measureGatewayAbsorb},
		{"gateway-other-key", working, measureGatewayOtherKey},
		{"gateway-peers", working, measureGatewayPeers},
		{"receipts", working, measureReceipts},
		{"latency", working, measureLatency},
		{"succession", working, measureSuccession},
		{"claims", working, measureClaims},
		{"throughput", working, measureThroughput},
		{"storm", working, measureStorm},
		{"workers", working, measureWorkers},
		{"kine", working, measureKine},
		{"peers", working, measurePeers},
		{"stored", idle, measureStored},
	})
}

// Measures returns the names that Options.Rows may have.
func Measures() []string {
	var names []string
	for _, m := range measures() {
		names = append(names, m.name)
	}
	return names
}

// Run runs the measures. After an error, the report has the rows that were measured before it.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	report = newReport(o)
	w, err := newWorld(ctx, o, controlplane.StoreEtcd)
	if err != nil {
		return nil, err
	}
	defer func() {
		report.Duration = time.Since(report.Time).Round(time.Second).String()
		err = errors.Join(err, w.close())
	}()
	for _, m := range measures() {
		if len(o.Rows) > 0 && !slices.Contains(o.Rows, m.name) {
			continue
		}
		results, err := w.measure(ctx, m, o)
		if err != nil {
			return report, fmt.Errorf("measure %s: %w", m.name, err)
		}
		report.Results = append(report.Results, results...)
	}
	return report, nil
}

func (w *world) measure(ctx context.Context, m measure, o Options) ([]Result, error) {
	begin := time.Now()
	if err := w.enter(ctx, m.state); err != nil {
		return nil, err
	}
	results, err := m.run(ctx, w, o)
	for _, r := range results {
		if !r.Value.measured() {
			return nil, fmt.Errorf("row %s has no number in one of its rounds: %v", r.Row, r.Value.Rounds)
		}
	}
	fmt.Fprintf(w.log, "measured %s in %s\n", m.name, time.Since(begin).Round(time.Second))
	for _, r := range results {
		fmt.Fprintln(w.log, "   ", strings.Join(r.cells(), "  "))
	}
	return results, err
}

// alternate runs the sides of a round one after the other, and in the opposite order every other round. So other work of
// the machine does not hit the same side each time.
func alternate(round int, sides ...func() error) error {
	if round%2 == 1 {
		slices.Reverse(sides)
	}
	for _, side := range sides {
		if err := side(); err != nil {
			return err
		}
	}
	return nil
}
