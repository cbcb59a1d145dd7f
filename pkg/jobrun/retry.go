// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
)

// feedBackoff is the pause between attempts: 200 ms, doubling up to 10 s, plus up to 20 %.
var feedBackoff = wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 30, Cap: 10 * time.Second}

// maxRefusals is the number of successive refusals that do not end a feed, if it had contact before. An API server that
// starts may refuse for a while what it allows later.
const maxRefusals = 8

// pace decides whether and when to try again.
type pace struct {
	backoff  wait.Backoff
	contact  bool
	refusals int
}

func newPace() *pace { return &pace{backoff: feedBackoff} }

// reached notes that the API server has answered.
func (p *pace) reached() { p.contact, p.refusals = true, 0 }

// lively notes that an event came, so the next attempt follows after a short pause.
func (p *pace) lively() {
	p.reached()
	p.backoff = feedBackoff
}

// repeat calls turn until it returns false; then it returns nil. It pauses between the turns. It returns an error when ctx ends or
// when the server refuses for good.
func (p *pace) repeat(ctx context.Context, turn func() (more bool, err error)) error {
	for {
		more, err := turn()
		if !more {
			return nil
		}
		if err := p.retry(ctx, err); err != nil {
			return err
		}
	}
}

// retry waits until the next attempt is due. It returns an error if there should be none.
func (p *pace) retry(ctx context.Context, failed error) error {
	if failed != nil && !transient(failed) && ctx.Err() == nil {
		if p.refusals++; !p.contact || p.refusals > maxRefusals {
			return Classify(failed)
		}
	}
	if pause(ctx, p.backoff.Step()) {
		return nil
	}
	if failed != nil && !errors.Is(failed, ctx.Err()) {
		return fmt.Errorf("%w (the last attempt failed: %v)", ctx.Err(), failed) //nolint:errorlint // ctx's end is what it is
	}
	return ctx.Err()
}

// pause waits for d. It returns false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// transient reports whether the same request may succeed later.
func transient(err error) bool {
	if transport(err) {
		return !misconfigured(err)
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests || code == http.StatusGone
}

// serverFailed reports whether the API server failed in a way that leaves open whether it stored the object. It stores nothing
// before admission has ended, so an answer of a webhook, or about one that cannot be called, leaves nothing open.
func serverFailed(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code >= http.StatusInternalServerError &&
		status.Status().Code != http.StatusServiceUnavailable && uncalledWebhook(err) == "" && !denied(status)
}

// denied reports whether an answer is that of a webhook, with any code.
func denied(answer apierrors.APIStatus) bool {
	message := answer.Status().Message
	return strings.HasPrefix(message, `admission webhook "`) && strings.Contains(message, `" denied the request`)
}

// answered reports whether an error is the answer of an API server.
func answered(err error) bool { return errors.As(err, new(apierrors.APIStatus)) }

// transport reports whether a request got no answer or only part of one.
func transport(err error) bool {
	if err == nil || answered(err) {
		return false
	}
	return errors.As(err, new(*url.Error)) || errors.As(err, new(net.Error)) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) ||
		utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err) ||
		strings.Contains(err.Error(), "error when reading response body") // client-go puts this around any error.
}

// unsent reports whether a request without an answer cannot have reached the API server.
func unsent(err error) bool {
	var operation *net.OpError
	return errors.As(err, &operation) && operation.Op == "dial" || misconfigured(err) ||
		meta.IsNoMatchError(err) || runtime.IsNotRegisteredError(err)
}

// misconfigured reports whether the server's certificate cannot be verified.
func misconfigured(err error) bool { return errors.As(err, new(*tls.CertificateVerificationError)) }
