// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// put hands a JobRun to the Hub as a watch does.
func put(h *Hub, version uint64, run *v1alpha1.JobRun) {
	run.UID, run.ResourceVersion = types.UID("uid-"+run.Name), strconv.FormatUint(version, 10)
	h.changed(run, version, false)
}

// Each of many readers gets all events in order, while others open and close.
func TestFanOut(t *testing.T) {
	const readers, runs = 50, 2000
	h := NewHub(logr.Discard(), 64<<20)
	h.listed(nil, 0)
	var opened, done sync.WaitGroup
	got := make([][]types.UID, readers)
	for i := range readers {
		opened.Add(1)
		done.Go(func() {
			r, _ := h.open("default", selection{})
			defer r.close()
			opened.Done()
			for len(got[i]) < runs {
				<-r.wake
				for more := true; more; {
					var groups []*group
					var err error
					if groups, _, more, err = r.read(); err != nil {
						t.Error(err)
						return
					}
					for _, g := range groups {
						got[i] = append(got[i], g.events[0].run)
					}
				}
			}
		})
	}
	opened.Wait()
	stop := make(chan struct{})
	var restless sync.WaitGroup
	restless.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				r, at := h.open("default", selection{run: "uid-r7"})
				r.resume(at / 2)
				_, _, _, _ = r.read()
				r.follow("uid-r8")
				r.close()
			}
		}
	})
	for i := range runs {
		put(h, uint64(i+1), makeRun(fmt.Sprintf("r%d", i)))
	}
	done.Wait()
	close(stop)
	restless.Wait()
	for i := range runs {
		mustEqual(t, "in order", got[0][i], types.UID(fmt.Sprintf("uid-r%d", i)))
	}
	for i := range readers {
		mustEqual(t, "the same for all", slices.Equal(got[i], got[0]), true)
	}
	mustEqual(t, "readers left", len(h.readers), 0)
}

// A reader whose events have left the history is too slow. One without events of its own is not.
func TestReaderIsTooSlow(t *testing.T) {
	h := NewHub(logr.Discard(), 2000)
	h.listed(nil, 0)
	all, _ := h.open("default", selection{})
	other, _ := h.open("default", selection{jobName: "other"})
	for i := range 100 {
		put(h, uint64(i+1), makeRun(strconv.Itoa(i)))
	}
	_, _, _, err := all.read()
	mustEqual(t, "all", err, errSlow)
	groups, version, more, err := other.read()
	mustEqual(t, "error", err, nil)
	mustEqual(t, "groups", len(groups), 0)
	mustEqual(t, "more", more, false)
	mustEqual(t, "has everything up to", version, 100)
	mustEqual(t, "can be resumed from far back", other.resume(1), forgotten)
	mustEqual(t, "from the future", other.resume(101), ahead)
	mustEqual(t, "from the last", other.resume(99), covered)
}
