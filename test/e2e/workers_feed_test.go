// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// feed triggers runs for keys until end is called.
type feed struct {
	o       *observer
	run     func(name string) manifest
	calling sync.WaitGroup
	stop    chan struct{}

	mu       sync.Mutex
	accepted map[string]bool
}

func newFeed(o *observer, run func(name string) manifest) *feed {
	return &feed{o: o, run: run, stop: make(chan struct{}), accepted: map[string]bool{}}
}

// crowded triggers a run whenever none waits for the key.
func (f *feed) crowded(key string) { f.start(key, func(string) bool { return true }) }

// calm triggers a run whenever the previous one has ended.
func (f *feed) calm(key string) {
	f.start(key, func(last string) bool {
		run := f.o.run(last)
		return run != nil && run.Status.CompletionTime != nil
	})
}

func (f *feed) start(key string, next func(last string) bool) {
	f.calling.Go(func() {
		defer GinkgoRecover()
		for n := 0; f.trigger(fmt.Sprintf("%s-%d", key, n), key); n++ {
			for !next(fmt.Sprintf("%s-%d", key, n)) {
				if !f.pause() {
					return
				}
			}
		}
	})
}

// trigger creates a run as soon as no run waits for its key.
func (f *feed) trigger(name, key string) bool {
	for {
		err := k8s.Create(ctx, f.run(name).key(key).in(ns).obj)
		if err == nil {
			f.mu.Lock()
			f.accepted[name] = true
			f.mu.Unlock()
			return f.pause()
		}
		Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)
		if !f.pause() {
			return false
		}
	}
}

func (f *feed) pause() bool {
	select {
	case <-f.stop:
		return false
	case <-time.After(polling):
		return true
	}
}

// end stops, waits until every run has its outcome, and returns their names.
func (f *feed) end() map[string]bool {
	GinkgoHelper()
	close(f.stop)
	f.calling.Wait()
	Eventually(func(g Gomega) {
		for name := range f.accepted {
			g.Expect(f.o.run(name)).NotTo(BeNil(), name)
			g.Expect(f.o.run(name).Status.CompletionTime).NotTo(BeNil(), name)
		}
	}).Should(Succeed())
	return f.accepted
}

// steps starts a run for which the testworker takes that many steps, and reports its progress after each.
func steps(name string, number int) manifest {
	return workerRun(name).input(fmt.Sprintf(`{"steps": %d, "pause": "150ms", "progress": true}`, number))
}

func (m manifest) leaseFor(seconds int32) manifest {
	return m.with(func(r *v1alpha1.JobRun) { r.Spec.LeaseDurationSeconds = seconds })
}
