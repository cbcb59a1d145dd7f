// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/jobrun-dev/jobrun/internal/gateway/events"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// LogOpener opens the log of a container. The log ends early when ctx ends.
type LogOpener func(ctx context.Context, pod types.NamespacedName, o *corev1.PodLogOptions) (io.ReadCloser, error)

// NewLogOpener returns a LogOpener that asks the API server.
func NewLogOpener(config *rest.Config, httpClient *http.Client) (LogOpener, error) {
	core, err := corev1client.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client for logs: %w", err)
	}
	return func(ctx context.Context, pod types.NamespacedName, o *corev1.PodLogOptions) (io.ReadCloser, error) {
		return core.Pods(pod.Namespace).GetLogs(pod.Name, o).Stream(ctx)
	}, nil
}

var pods = corev1.SchemeGroupVersion.WithResource("pods")

// needsLogs returns the rights to read the JobRun of the path, which tells which Pod it has, and to read logs.
func needsLogs(r *http.Request) []right {
	return append(onRun("get")(r), right{verb: "get", resource: pods, subresource: "log", namespace: namespaceOf(r)})
}

// logs answers GET /v1/namespaces/{ns}/runs/{run}/logs: the log of the current Pod of the run, or of the run that stands for
// a receipt. It counts as one of the caller's streams.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	if s.OpenLog == nil {
		return noLogs(http.StatusNotFound, r.PathValue(pathRun), "this gateway reads no logs: it was started without --gateway-logs")
	}
	options, err := logOptionsOf(r)
	if err != nil {
		return err
	}
	leave, err := s.streams.Enter(userOf(r.Context()).GetName())
	if err != nil {
		return err
	}
	defer leave()
	pod, err := s.podOf(r)
	if err != nil {
		return err
	}
	if err := chooseContainer(pod, options); err != nil {
		return err
	}
	ctx, cut := context.WithCancelCause(r.Context())
	defer cut(nil)
	log, err := s.OpenLog(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, options)
	if err != nil {
		return jobrun.Classify(err)
	}
	defer log.Close()
	var guarding sync.WaitGroup
	guarding.Go(func() {
		cut(s.guardLog(ctx, r))
		_ = log.Close() // ends a read that is under way
	})
	err = errors.Join(s.copyLog(w, log), context.Cause(ctx))
	cut(nil)
	guarding.Wait()
	if err != nil && r.Context().Err() == nil {
		s.breakOff(r, err)
	}
	return nil
}

// guardLog returns why a log must be cut: the caller may no longer read it, or the gateway stops. It returns the error of ctx
// once that ends.
func (s *Server) guardLog(ctx context.Context, r *http.Request) error {
	access := events.Access{Allowed: s.stillAllowed(r, needsLogs)}
	ticker := s.Clock.NewTicker(events.AccessInterval())
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.drained():
			return errors.New("the gateway is stopping")
		case <-ticker.C():
			if err := access.Ask(ctx); err != nil {
				return err
			}
		}
	}
}

// stillAllowed returns a function that asks again who the caller of a stream is, and whether the caller has the rights.
func (s *Server) stillAllowed(r *http.Request, needs func(*http.Request) []right) func(context.Context) error {
	return func(ctx context.Context) error {
		caller, err := s.authenticate(r.WithContext(ctx))
		if err != nil {
			return err
		}
		return s.require(withUser(ctx, caller), needs(r)...)
	}
}

// copyLog sends a log as it comes.
func (s *Server) copyLog(w http.ResponseWriter, log io.Reader) error {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would collect the lines
	w.WriteHeader(http.StatusOK)
	control, buffer := http.NewResponseController(w), make([]byte, 32<<10)
	if err := control.Flush(); err != nil {
		return err
	}
	for {
		n, err := log.Read(buffer)
		if n > 0 {
			_ = control.SetWriteDeadline(s.Clock.Now().Add(writePatience)) // a recorder of a test has no deadlines
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
			if err := control.Flush(); err != nil {
				return err
			}
			_ = control.SetWriteDeadline(time.Time{}) // HTTP/2 would reset an idle stream
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// breakOff ends an answer that is not complete by closing its connection, so that no client takes the part for the whole.
func (s *Server) breakOff(r *http.Request, why error) {
	s.Log.Info("Broke a log off", "requestID", requestIDOf(r.Context()), "namespace", namespaceOf(r), "run", r.PathValue(pathRun), "reason", why.Error())
	panic(http.ErrAbortHandler)
}
