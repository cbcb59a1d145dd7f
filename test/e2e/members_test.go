// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

var _ = Describe("Three replicas", Ordered, Label(local), func() {
	const keys = 200

	var (
		watched *ends
		before  int
	)

	BeforeAll(func() {
		startManagers()
		useNamespace()
		awaitMembers(managers, liveManagers()...)
		before = handOvers()
		watched = watchEnds()
		each(keys, func(i int) error {
			return k8s.Create(ctx, workerRun(fmt.Sprint("run-", i)).key(fmt.Sprint("k", i)).in(ns).obj)
		})
		Eventually(func() []string { return names("jobruns", "--field-selector=status.phase=Pending") }).Should(HaveLen(keys))
	})

	It("share the keys out evenly, and reconcile no key twice but in a hand-over", func() {
		of, handedOver := map[string]string{}, handOvers() > before
		for _, m := range liveManagers() {
			mine := reconciledBy(m)
			Expect(len(mine)).To(BeNumerically("~", keys/managers, keys/managers/2), m.Name)
			for _, key := range mine {
				if !handedOver { // A member may be late on a busy machine.
					Expect(of).NotTo(HaveKey(key), "%s, by %s", key, m.Name)
				}
				of[key] = m.Name
			}
		}
		Expect(of).To(HaveLen(keys))
	})

	It("take over the keys of one that stops, which deletes its Lease", func() {
		stopped, others := liveManagers()[0], liveManagers()[1:]
		DeferCleanup(startManagers)
		Expect(stopped.Stop(patience)).To(Succeed())
		jobrun.Rebalance()
		awaitMembers(len(others), others...)
		startManagers()
		awaitMembers(managers, liveManagers()...)
	})

	It("take over the keys of one that is killed", func() {
		survivors := liveManagers()[1:]
		Expect(jobrun.Kill(liveManagers()[0])).To(Succeed())
		DeferCleanup(startManagers)
		killed := time.Now()
		each(keys, func(i int) error {
			run := &v1alpha1.JobRun{}
			run.Namespace, run.Name = ns, fmt.Sprint("run-", i)
			// A connection of the API server to the webhook of the killed manager may break in the middle of a call.
			return retry.OnError(retry.DefaultBackoff, apierrors.IsInternalError, func() error {
				return k8s.Patch(ctx, run, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"cancel":true}}`)))
			})
		})
		Eventually(watched.count).Should(Equal(keys))
		awaitMembers(len(survivors), survivors...)
		after := watched.after(killed)
		AddReportEntry("seconds from kill -9 until the keys moved", map[string]float64{
			"p50": after[keys/2], "p99": after[keys*99/100], "max": after[keys-1],
		})
		Expect(after[keys*99/100]).To(BeNumerically("<", 30), "seconds")
	})
})

// each calls do for 0 to n-1, several at once.
func each(n int, do func(i int) error) {
	GinkgoHelper()
	var group errgroup.Group
	group.SetLimit(8)
	for i := range n {
		group.Go(func() error { return do(i) })
	}
	Expect(group.Wait()).To(Succeed())
}

// reconciledBy returns the keys of this namespace that a manager has written about, by its log.
func reconciledBy(m *operator.Manager) []string {
	GinkgoHelper()
	var keys []string
	eachLine(m, func(line []byte) {
		var l logLine
		if json.Unmarshal(line, &l) == nil && l.Namespace == ns && l.Step != "" {
			keys = append(keys, l.Key)
		}
	})
	slices.Sort(keys)
	return slices.Compact(keys)
}

// handOvers returns how often the managers that live have taken homes over, by their logs.
func handOvers() int {
	GinkgoHelper()
	count := 0
	for _, m := range liveManagers() {
		eachLine(m, func(line []byte) {
			if bytes.Contains(line, []byte("Took homes over")) {
				count++
			}
		})
	}
	return count
}

// eachLine calls do for each line of a manager's log.
func eachLine(m *operator.Manager, do func([]byte)) {
	GinkgoHelper()
	log, err := os.Open(m.LogFile)
	Expect(err).NotTo(HaveOccurred())
	defer log.Close()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		do(lines.Bytes())
	}
	Expect(lines.Err()).NotTo(HaveOccurred())
}

// ends are the times at which a watch showed that runs of this namespace had ended.
type ends struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func watchEnds() *ends {
	GinkgoHelper()
	e := &ends{seen: map[string]time.Time{}}
	watched, err := k8s.Watch(ctx, &v1alpha1.JobRunList{}, client.InNamespace(ns))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(watched.Stop)
	go func() {
		for event := range watched.ResultChan() {
			if run, ok := event.Object.(*v1alpha1.JobRun); ok && run.HasEnded() {
				e.note(run.Name)
			}
		}
	}()
	return e
}

func (e *ends) note(run string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.seen[run]; !known {
		e.seen[run] = time.Now()
	}
}

func (e *ends) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.seen)
}

// after returns the seconds from t until each run ended, in order.
func (e *ends) after(t time.Time) []float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	var seconds []float64
	for _, at := range e.seen {
		seconds = append(seconds, at.Sub(t).Seconds())
	}
	slices.Sort(seconds)
	return seconds
}
