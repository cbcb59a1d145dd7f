// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
)

// maxLineBytes bounds a line of a stream. The largest is the JSON of a JobRun, which etcd bounds.
const maxLineBytes = 8 << 20

// message is one of server-sent events. A comment makes a message without an event.
type message struct {
	event string
	data  []byte
	// id is empty if the message has none. The last id of a stream stays valid then.
	id string
}

// messages reads a stream of server-sent events.
type messages struct{ lines *bufio.Scanner }

func newMessages(stream io.Reader) *messages {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxLineBytes)
	return &messages{lines}
}

// next returns the next message. A message whose end is missing is none.
func (m *messages) next() (message, error) {
	var next message
	for m.lines.Scan() {
		line := m.lines.Bytes()
		if len(line) == 0 {
			return next, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			next.event = string(value)
		case "data":
			if next.data != nil {
				next.data = append(next.data, '\n')
			}
			next.data = append(next.data, value...)
		case "id":
			next.id = string(value)
		}
	}
	if err := m.lines.Err(); err != nil {
		return message{}, err
	}
	return message{}, io.EOF
}

// stream opens a stream of events, and passes each message to take until take returns false or an error, or the stream ends or is
// silent for too long. last is the id after which it is to begin, or empty. An end is no error: the next stream goes on.
func (g *GatewayClient) stream(ctx context.Context, query url.Values, last string, take func(message) (more bool, err error)) (bool, error) {
	var headers []string
	if last != "" {
		headers = []string{"Last-Event-ID", last}
	}
	answer, err := g.open(ctx, http.MethodGet, "/events", query, nil, headers...)
	if err != nil {
		return true, err
	}
	defer answer.Body.Close()
	for messages := newMessages(answer.Body); ; {
		next, err := messages.next()
		if errors.Is(err, bufio.ErrTooLong) {
			return true, err
		}
		if err != nil {
			return true, nil // The stream ended, in whatever way.
		}
		if more, err := take(next); !more || err != nil {
			return more, err
		}
	}
}
