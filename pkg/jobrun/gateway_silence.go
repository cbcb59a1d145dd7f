// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// gatewayIdle is how long the gateway, or what stands before it, may be silent while it is read from: before it answers, and
// in the midst of an answer. The gateway writes a comment into a stream of events each 15 s.
const gatewayIdle = 45 * time.Second

var errSilent = fmt.Errorf("the gateway was silent for %s", gatewayIdle)

// audible is the body of an answer. A silence of gatewayIdle ends its request. The time between reads is no silence.
type audible struct {
	io.ReadCloser
	cancel context.CancelFunc
	timer  *time.Timer
	silent atomic.Bool
}

// get sends a request that may be repeated. Its answer is audible.
func (g *GatewayClient) get(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(request.Context())
	body := &audible{cancel: cancel}
	body.timer = time.AfterFunc(gatewayIdle, func() {
		body.silent.Store(true)
		cancel()
	})
	answer, err := g.options.HTTPClient.Do(request.WithContext(ctx))
	body.timer.Stop()
	switch {
	case err == nil:
		body.ReadCloser, answer.Body = answer.Body, body
		return answer, nil
	case body.silent.Load():
		err = &url.Error{Op: "Get", URL: request.URL.Redacted(), Err: errSilent}
	}
	cancel()
	return nil, err
}

func (a *audible) Read(p []byte) (int, error) {
	a.timer.Reset(gatewayIdle)
	defer a.timer.Stop()
	n, err := a.ReadCloser.Read(p)
	if err != nil && a.silent.Load() {
		err = errSilent
	}
	return n, err
}

func (a *audible) Close() error {
	defer a.cancel()
	return a.ReadCloser.Close()
}
