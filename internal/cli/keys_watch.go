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
func (o *keysOptions) live(ctx context.Context) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	fmt.Fprint(o.Streams.Out, clearAll)
	for {
		view := &bytes.Buffer{}
		err := o.view(ctx, view)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !passing(err):
			return err
		case err != nil:
			fmt.Fprintf(view, "The API server does not answer: %v\n", err)
		}
		fmt.Fprint(o.Streams.Out, screen(view.String(), o.width(o.Streams.Out)))
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// view writes the time, and the table of that time.
func (o *keysOptions) view(ctx context.Context, to io.Writer) error {
	list, err := o.list(ctx)
	fmt.Fprintf(to, "%s\n\n", time.Now().UTC().Format(time.RFC3339))
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		fmt.Fprintln(to, o.nothing())
		return nil
	}
	return o.show(ctx, to, list)
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
