// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"k8s.io/utils/clock"
)

// writeTimeout is how long a client may take to accept what is written to it.
const writeTimeout = 10 * time.Second

// writer writes the text of a stream. After an error it writes no more.
type writer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	clock   clock.Clock
	// told is the last id that was written.
	told uint64
	err  error
}

// begin writes the headers, after which time clients may come back, and where the stream begins.
func (o *writer) begin(version uint64) {
	header := o.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache, no-store, no-transform")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Accel-Buffering", "no") // nginx would collect the events.
	o.within(func() error {
		o.w.WriteHeader(http.StatusOK)
		o.text("retry: ", retry(), "\n")
		o.id(version)
		o.text("\n")
		return o.err
	})
}

// event writes an event after which the client has everything up to a version.
func (o *writer) event(frame []byte, upTo uint64) {
	if o.err == nil {
		_, o.err = o.w.Write(frame) //nolint:gosec // G705: no browser takes an event stream for a page
	}
	o.id(upTo)
	o.text("\n")
}

// heartbeat writes a comment, and up to which version the client has everything.
func (o *writer) heartbeat(upTo uint64) {
	o.text(":\n")
	o.id(upTo)
	o.text("\n")
}

// id writes a version if it is newer than the last.
func (o *writer) id(version uint64) {
	if version > o.told {
		o.told = version
		o.text("id: ", strconv.FormatUint(version, 10), "\n")
	}
}

func (o *writer) text(parts ...string) {
	for _, part := range parts {
		if o.err == nil {
			_, o.err = o.w.Write([]byte(part))
		}
	}
}

// within calls write, and sends what it wrote. It fails with errSlow if the client does not accept that in time.
func (o *writer) within(write func() error) {
	if o.err != nil {
		return
	}
	start := o.clock.Now()
	o.err = errors.Join(
		o.control.SetWriteDeadline(start.Add(writeTimeout)),
		write(),
		o.control.Flush(),
		o.control.SetWriteDeadline(time.Time{}), // HTTP/2 would reset an idle stream.
	)
	// HTTP/2 closes the stream at the deadline, with an error of its own.
	if o.err != nil && o.clock.Since(start) >= writeTimeout {
		o.err = fmt.Errorf("%w: it did not accept in %v what was written: %w", errSlow, writeTimeout, o.err)
	}
}
