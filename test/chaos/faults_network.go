// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
)

const (
	// toMost and toHalf are shares of the connections, as Toxiproxy's toxicity.
	toMost, toHalf = 0.8, 0.5
	// answerBytes bounds the bytes after which a connection is cut off. That is within an answer, or within the
	// handshake of a new connection.
	answerBytes = 6000
)

// poisoned adds toxics to a link and removes them at the end of the injection.
func poisoned(ctx context.Context, l *link, i Injection, toxics ...toxic) error {
	var errs []error
	for _, t := range toxics {
		cure, err := l.poison(t)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		defer func() { errs = append(errs, cure()) }()
	}
	pause(ctx, i.For)
	return errors.Join(errs...)
}

func latency(stream string, milliseconds, jitter int64) toxic {
	return toxic{Type: "latency", Stream: stream, Attributes: map[string]int64{"latency": milliseconds, "jitter": jitter}}
}

func slowAPI(ctx context.Context, w *world, i Injection) error {
	return poisoned(ctx, w.drawn(i).link, i, latency(requests, 200, 150), latency(answers, 200, 150))
}

func slowWebhook(ctx context.Context, w *world, i Injection) error {
	return poisoned(ctx, w.cluster.webhook, i, latency(requests, 300, 250), latency(answers, 300, 250))
}

func resetPeer(i Injection) toxic {
	return toxic{Type: "reset_peer", Stream: answers, Attributes: map[string]int64{"timeout": int64(i.Draw % 100)}}
}

func resetAPI(ctx context.Context, w *world, i Injection) error {
	return poisoned(ctx, w.drawn(i).link, i, resetPeer(i))
}

func resetWebhook(ctx context.Context, w *world, i Injection) error {
	return poisoned(ctx, w.cluster.webhook, i, resetPeer(i))
}

func cutOff(i Injection) toxic {
	return toxic{
		Type: "limit_data", Stream: answers, Toxicity: toMost,
		Attributes: map[string]int64{"bytes": int64(i.Draw % answerBytes)},
	}
}

func cutAPI(ctx context.Context, w *world, i Injection) error {
	return poisoned(ctx, w.drawn(i).link, i, cutOff(i))
}

func cutWebhook(ctx context.Context, w *world, i Injection) error {
	return poisoned(ctx, w.cluster.webhook, i, cutOff(i))
}

// hangWebhook drops all answers of the webhook, so that the API server waits for them in vain.
func hangWebhook(ctx context.Context, w *world, i Injection) error {
	return poisoned(ctx, w.cluster.webhook, i, toxic{Type: "timeout", Stream: answers, Attributes: map[string]int64{"timeout": 0}})
}

func closeWatches(_ context.Context, w *world, i Injection) error { return w.drawn(i).link.cut()() }

// lagWatches delays all answers on half of the connections. Each watch has a connection of its own.
func lagWatches(ctx context.Context, w *world, i Injection) error {
	lag := latency(answers, 1500+int64(i.Draw%2500), 500)
	lag.Toxicity = toHalf
	return poisoned(ctx, w.drawn(i).link, i, lag)
}
