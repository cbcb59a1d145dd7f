// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reading is how far the log of a container was read.
type reading struct {
	bytes    int64
	complete bool
}

// readingOf begins to read a log, and says so.
func (l *logs) readingOf(c loggable) *reading {
	r := l.read[c.containerRun]
	if r == nil {
		r = &reading{}
		l.read[c.containerRun] = r
		fmt.Fprintln(l.Streams.ErrOut, c.title())
	}
	return r
}

// copy writes what there is of a log.
func (l *logs) copy(ctx context.Context, c loggable) error {
	return l.copyFrom(ctx, c, l.readingOf(c), false)
}

// stream writes a log to its end. A stream that breaks off is taken up where it was.
func (l *logs) stream(ctx context.Context, c loggable) error {
	if r := l.read[c.containerRun]; r != nil && r.complete {
		return nil
	}
	r := l.readingOf(c)
	for {
		err := l.copyFrom(ctx, c, r, true)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case apierrors.IsNotFound(err):
			r.complete = true
			l.say(fmt.Sprintf("Pod %s is gone, and what was left of its log with it", c.pod.Name))
			return nil
		case err != nil && !passing(err) && !notYet(err):
			return fmt.Errorf("read the log of Pod %s: %w", c.pod.Name, err)
		case err == nil && l.hasEnded(ctx, c):
			r.complete = true
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.Clock.After(retryPause):
		}
	}
}

// copyFrom writes a log from where it was read to.
func (l *logs) copyFrom(ctx context.Context, c loggable, r *reading, follow bool) error {
	log, err := l.cluster.openLog(ctx, c.pod, &corev1.PodLogOptions{Container: c.container, Follow: follow})
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := io.CopyN(io.Discard, log, r.bytes); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // the node has less of it now than was read before
		}
		return err
	}
	read, err := io.Copy(l.Streams.Out, log)
	r.bytes += read
	return err
}

// hasEnded reports whether a container that was started has ended: a stream may
// also end because the API server did.
func (l *logs) hasEnded(ctx context.Context, c loggable) bool {
	pod := &corev1.Pod{}
	err := l.cluster.api.Get(ctx, client.ObjectKeyFromObject(c.pod), pod)
	if err != nil {
		return apierrors.IsNotFound(err)
	}
	if pod.UID != c.pod.UID {
		return true
	}
	now, started := logOf(pod, c.container)
	return now.ended || !started || now.restarts != c.restarts
}
