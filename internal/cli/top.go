// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

type top struct {
	*plugin
	everywhere bool
	interval   time.Duration
}

func newTop(p *plugin) *cobra.Command {
	t := &top{plugin: p}
	cmd := &cobra.Command{
		Use:   "top [JOB]",
		Short: "Watch what executes and what waits, by job and key",
		Long: `Watch what executes and what waits, by job and key, until Ctrl-C. Where stdout is no
terminal, print it once.

QUEUED counts runs that have neither: those that were promised to be executed while
their key was taken, and those that the operator has not seen yet. ABSORBED counts
the triggers that the runs of the row stand for.`,
		Args:              arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction: p.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if t.interval <= 0 {
				return usagef("--interval %s: must be more than 0", t.interval)
			}
			jobName := ""
			if len(args) > 0 {
				jobName = args[0]
			}
			return t.run(cmd.Context(), jobName)
		},
	}
	addEverywhere(cmd, &t.everywhere)
	cmd.Flags().DurationVar(&t.interval, "interval", 2*time.Second, "How often the view is renewed.")
	return cmd
}

func (t *top) run(ctx context.Context, jobName string) error {
	c, err := t.connected()
	if err != nil {
		return err
	}
	if t.width(t.Streams.Out) > 0 {
		return t.live(ctx, c, jobName)
	}
	view, err := t.view(ctx, c, jobName)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	_, err = t.Streams.Out.Write(view)
	return err
}

// Of a terminal: its top left corner, and what clears the rest of a line and of the screen.
const (
	home      = "\x1b[H"
	clearLine = "\x1b[K\n"
	clearRest = "\x1b[J"
	clearAll  = home + "\x1b[2J"
)

// live draws the view anew until ctx ends.
func (t *top) live(ctx context.Context, c *cluster, jobName string) error {
	ticker := t.Clock.NewTicker(t.interval)
	defer ticker.Stop()
	fmt.Fprint(t.Streams.Out, clearAll)
	for {
		view, err := t.view(ctx, c, jobName)
		switch {
		case ctx.Err() != nil:
			fmt.Fprintln(t.Streams.Out, "\nThe runs go on.")
			return nil
		case err != nil && !passing(err):
			return err
		case err != nil:
			view = fmt.Appendf(nil, "The API server does not answer: %v\n", err)
		}
		fmt.Fprint(t.Streams.Out, t.screen(string(view)))
		select {
		case <-ctx.Done():
		case <-ticker.C():
		}
	}
}

// screen draws over what was there before.
func (t *top) screen(view string) string {
	screen := &strings.Builder{}
	screen.WriteString(home)
	for line := range strings.Lines(view) {
		screen.WriteString(fit(strings.TrimSuffix(line, "\n"), t.width(t.Streams.Out)) + clearLine)
	}
	return screen.String() + clearRest
}

// view is what there is to see now.
func (t *top) view(ctx context.Context, c *cluster, jobName string) ([]byte, error) {
	runs, err := t.active(ctx, c, jobName)
	if err != nil {
		return nil, err
	}
	now := t.Clock.Now()
	rows := busy(runs)
	view := &bytes.Buffer{}
	fmt.Fprintf(view, "%s  %s\n\n", now.UTC().Format(time.RFC3339), total(rows))
	if len(rows) > 0 {
		printer := printers.NewTablePrinter(printers.PrintOptions{WithNamespace: t.everywhere})
		err = printer.PrintObj(topTable(rows, now), view)
	}
	return view.Bytes(), err
}

// active are the runs that have not ended. The API server selects them, for those
// that have can be many.
func (t *top) active(ctx context.Context, c *cluster, jobName string) ([]v1alpha1.JobRun, error) {
	selector := []fields.Selector{}
	for _, over := range []v1alpha1.Phase{
		v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled, v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent,
	} {
		selector = append(selector, fields.OneTermNotEqualSelector("status.phase", string(over)))
	}
	if jobName != "" {
		selector = append(selector, fields.OneTermEqualSelector("spec.jobName", jobName))
	}
	options := []client.ListOption{client.MatchingFieldsSelector{Selector: fields.AndSelectors(selector...)}}
	if !t.everywhere {
		options = append(options, client.InNamespace(c.namespace))
	}
	var list v1alpha1.JobRunList
	err := c.api.List(ctx, &list, options...)
	return list.Items, err
}
