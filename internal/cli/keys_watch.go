// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// watchInterval is the time between two reads of `keys --watch`.
const watchInterval = 2 * time.Second

// Terminal sequences: move to the top left corner, clear the rest of a line, of the screen, and all of it.
const (
	home      = "\x1b[H"
	clearLine = "\x1b[K\n"
	clearRest = "\x1b[J"
	clearAll  = home + "\x1b[2J"
)

// live redraws the table until ctx ends.
func (k *keys) live(ctx context.Context, c *cluster, jobName string) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	fmt.Fprint(k.Streams.Out, clearAll)
	for {
		view := &bytes.Buffer{}
		err := k.view(ctx, c, jobName, view)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !passing(err):
			return err
		case err != nil:
			fmt.Fprintf(view, "The API server does not answer: %v\n", err)
		}
		fmt.Fprint(k.Streams.Out, screen(view.String(), k.width(k.Streams.Out)))
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// view writes the time, and the table of that time.
func (k *keys) view(ctx context.Context, c *cluster, jobName string, to io.Writer) error {
	list, err := k.list(ctx, c, jobName)
	fmt.Fprintf(to, "%s\n\n", time.Now().UTC().Format(time.RFC3339))
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		fmt.Fprintln(to, k.nothing(c, jobName))
		return nil
	}
	return k.show(to, list)
}

// screen returns the text that draws a view over the one before it.
func screen(view string, columns int) string {
	drawn := &strings.Builder{}
	drawn.WriteString(home)
	for line := range strings.Lines(view) {
		drawn.WriteString(fit(strings.TrimSuffix(line, "\n"), columns) + clearLine)
	}
	return drawn.String() + clearRest
}
