// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decoding

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var errTooDeep = errors.New("couldn't get version/kind; json parse error: exceeded max depth")

// source is an API server with one list.
type source struct {
	mu      sync.Mutex
	version int
	err     error
	watcher *watch.FakeWatcher
}

// become sets the answer to lists, and ends the watch.
func (s *source) become(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.err = err
	if s.watcher != nil {
		s.watcher.Stop()
		s.watcher = nil
	}
}

func (s *source) list(context.Context, metav1.ListOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return &v1alpha1.JobRunList{ListMeta: metav1.ListMeta{ResourceVersion: fmt.Sprint(s.version)}}, nil
}

func (s *source) watch(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.SendInitialEvents != nil && *o.SendInitialEvents || s.err != nil {
		return nil, apierrors.NewBadRequest("list instead")
	}
	s.watcher = watch.NewFake()
	return s.watcher, nil
}

// The check fails while the list of JobRuns cannot be decoded, and passes when a list succeeds.
func TestCheck(t *testing.T) {
	// One of these handlers waits until a time outside of the bubble.
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = nil
	t.Cleanup(func() { utilruntime.ErrorHandlers = handlers })
	synctest.Test(t, func(t *testing.T) {
		searches := 0
		h := NewHealth(func(context.Context) (string, error) { searches++; return "JobRun n/a", nil })
		api := &source{version: 1}
		informer := toolscache.NewSharedIndexInformer(&toolscache.ListWatch{
			ListWithContextFunc: api.list, WatchFuncWithContext: api.watch,
		}, &v1alpha1.JobRun{}, 0, nil)
		if err := informer.SetWatchErrorHandlerWithContext(h.HandleWatchError); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go informer.RunWithContext(ctx)
		expect := func(when, want string) {
			t.Helper()
			time.Sleep(5 * time.Minute) // of the bubble
			err := h.Check(nil)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", when, err, want)
			}
		}
		expect("at first", "")
		api.become(apierrors.NewServiceUnavailable("restarting"))
		expect("while the API server is away", "")
		api.become(errTooDeep)
		expect("while a list cannot be decoded", "cannot decode *v1alpha1.JobRun, the log names the object: failed to list *v1alpha1.JobRun: couldn't get version")
		if searches != 1 {
			t.Errorf("searched %d times for the object, want once", searches)
		}
		api.become(apierrors.NewServiceUnavailable("restarting"))
		expect("while the API server is away again", "exceeded max depth")
		api.become(nil)
		expect("after a list", "")
		api.become(errTooDeep)
		expect("when it fails again", "exceeded max depth")
		if searches != 2 {
			t.Errorf("searched %d times for the object, want twice", searches)
		}
	})
}

func TestUndecodable(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"too many levels":   {errTooDeep, true},
		"a time":            {&time.ParseError{Value: "x"}, true},
		"an answer":         {apierrors.NewServiceUnavailable("x"), false},
		"a type not served": {apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), ""), false},
		"no connection":     {&url.Error{Op: "Get", URL: "x", Err: errors.New("connection refused")}, false},
		"a lost connection": {&net.OpError{Op: "read", Err: errors.New("reset")}, false},
		"half an answer":    {errors.New("unexpected error when reading response body. Please retry. Original error: http2: client connection lost"), false},
		"the end":           {io.ErrUnexpectedEOF, false},
		"it stops":          {context.Canceled, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Undecodable(fmt.Errorf("failed to list: %w", tc.err)); got != tc.want {
				t.Errorf("Undecodable(%v) = %t", tc.err, got)
			}
		})
	}
}
