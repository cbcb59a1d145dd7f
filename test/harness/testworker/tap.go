// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/history"
)

// tap records a worker's writes to the API server, and the answers. It reads the requests themselves.
type tap struct {
	recorder *history.Recorder
	holder   string

	mu   sync.Mutex
	keys map[string]string // by run that was claimed
}

func newTap(recorder *history.Recorder, holder string) *tap {
	return &tap{recorder: recorder, holder: holder, keys: map[string]string{}}
}

func (t *tap) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		operation, err := t.operation(r)
		if err != nil {
			return nil, err
		}
		if operation == nil {
			return next.RoundTrip(r)
		}
		answered := t.recorder.Call(*operation)
		response, err := next.RoundTrip(r)
		answered(outcome(response, err))
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// outcome returns what an answer shows. A server error shows nothing, and neither does a lost answer.
func outcome(response *http.Response, err error) (history.Outcome, string) {
	if err != nil {
		return history.Unknown, err.Error()
	}
	if response.StatusCode < http.StatusMultipleChoices {
		return history.OK, response.Status
	}
	body, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(body))
	answer := response.Status
	var status metav1.Status
	if err == nil && json.Unmarshal(body, &status) == nil {
		answer += ": " + status.Message
	}
	if response.StatusCode >= http.StatusInternalServerError {
		return history.Unknown, answer
	}
	return history.Refused, answer
}

// operation returns the operation of a request, or nil if the request writes nothing.
func (t *tap) operation(r *http.Request) (*history.Operation, error) {
	if r.Body == nil || r.Method == http.MethodGet || r.Method == http.MethodDelete {
		return nil, nil
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	run, isStatus := strings.CutSuffix(r.URL.Path, "/status")
	switch {
	case strings.Contains(r.URL.Path, "/leases"):
		return &history.Operation{Kind: history.Renew, Holder: t.holder}, nil
	case !isStatus:
		return nil, fmt.Errorf("a worker does not send %s %s", r.Method, r.URL.Path)
	case r.Method == http.MethodPut:
		return t.claim(body)
	default:
		return t.report(path.Base(run), r.Header.Get("Content-Type"), body)
	}
}

func (t *tap) claim(body []byte) (*history.Operation, error) {
	var run v1alpha1.JobRun
	if err := json.Unmarshal(body, &run); err != nil {
		return nil, err
	}
	key := history.KeyOf(&run)
	t.mu.Lock()
	t.keys[run.Name] = key
	t.mu.Unlock()
	return &history.Operation{
		Kind: history.Claim, Key: key, Run: run.Name, Generation: run.Status.Lease.Generation, Holder: run.Status.Lease.HolderIdentity,
	}, nil
}

// report returns the operation of a patch of a claimed run: a merge patch that renews, or a JSON patch.
func (t *tap) report(run, contentType string, body []byte) (*history.Operation, error) {
	t.mu.Lock()
	o := &history.Operation{Key: t.keys[run], Run: run, Holder: t.holder}
	t.mu.Unlock()
	if contentType == string(types.MergePatchType) {
		var patch struct{ Status v1alpha1.JobRunStatus }
		err := json.Unmarshal(body, &patch)
		o.Kind, o.Generation = history.Renew, patch.Status.Lease.Generation
		return o, err
	}
	var changes []struct {
		Path  string
		Value json.RawMessage
	}
	if err := json.Unmarshal(body, &changes); err != nil {
		return nil, err
	}
	for _, change := range changes {
		if err := understand(o, change.Path, change.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", body, err)
		}
	}
	return o, nil
}

// understand completes the operation from one change of the patch.
func understand(o *history.Operation, path string, value []byte) error {
	switch path {
	case "/status/finishedGeneration":
		return json.Unmarshal(value, &o.Generation)
	case "/status/phase":
		kinds := map[string]history.Kind{`"Completed"`: history.Complete, `"Failed"`: history.Fail}
		if kind, ends := kinds[string(value)]; ends { // Otherwise the value belongs to a test.
			o.Kind = kind
		}
	case "/status/progress":
		var progress v1alpha1.Progress
		err := json.Unmarshal(value, &progress)
		o.Kind, o.Generation = history.Progress, progress.Generation
		return err
	case "/status/lease":
		var lease v1alpha1.RunLease
		err := json.Unmarshal(value, &lease)
		o.Kind, o.Generation = history.GiveBack, lease.Generation-1
		return err
	}
	return nil
}
