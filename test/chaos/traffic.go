// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// create is one request of a manager that creates a Job.
type create struct {
	Namespace string `json:"namespace"`
	Job       string `json:"job"`
	Run       string `json:"run"`
	// Key is the name of the RunKey; empty without one.
	Key        string    `json:"key,omitempty"`
	Token      string    `json:"token"`
	Generation string    `json:"generation"`
	Owner      types.UID `json:"owner"`
	// Held means that the gate held the create back until its run had lost its lease.
	Held bool          `json:"held,omitempty"`
	Sent time.Duration `json:"sent"`
	// Answered is when the API server answered with Code. Without an answer, Code is 0.
	Answered time.Duration `json:"answered,omitempty"`
	Code     int           `json:"code,omitempty"`
}

// jobCreate is a create that is not sent yet.
type jobCreate struct {
	create
	path, query string
	header      http.Header
	body        []byte
}

// traffic is what the gates saw of the requests of all managers.
type traffic struct {
	decoder runtime.Decoder

	mu      sync.Mutex
	held    map[string]*held // by name of the run
	log     []timedCreate
	writers map[string]map[string]bool // names of the managers that wrote the status of a JobRun, by path
	err     error
}

// timedCreate has the times of a create, which no clock of a history knows yet.
type timedCreate struct {
	create
	sent, answered time.Time
}

func newTraffic() *traffic {
	return &traffic{
		decoder: serializer.NewCodecFactory(scheme).UniversalDeserializer(),
		held:    map[string]*held{}, writers: map[string]map[string]bool{},
	}
}

// creates reads a request that creates a Job. If it cannot, it returns nil, and the history is not complete.
func (t *traffic) creates(r *http.Request, body []byte) *jobCreate {
	object, _, err := t.decoder.Decode(body, nil, nil)
	job, ok := object.(*batchv1.Job)
	if err != nil || !ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.err = fmt.Errorf("a manager creates a Job that cannot be read: %T: %w", object, err)
		return nil
	}
	c := &jobCreate{path: r.URL.Path, query: r.URL.RawQuery, header: r.Header, body: body, create: create{
		Namespace: job.Namespace, Job: job.Name, Run: job.Labels[v1alpha1.LabelRun], Key: job.Labels[v1alpha1.LabelKey],
		Token: job.Annotations[v1alpha1.AnnotationToken], Generation: job.Annotations[v1alpha1.AnnotationGeneration],
	}}
	if owner := metav1.GetControllerOf(job); owner != nil {
		c.Owner = owner.UID
	}
	return c
}

// sent logs that a create is being sent. The caller calls answered when the API server answers.
func (t *traffic) sent(c create) (answered func(code int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.log)
	t.log = append(t.log, timedCreate{create: c, sent: time.Now()})
	return func(code int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.log[n].answered, t.log[n].Code = time.Now(), code
	}
}

// wroteStatus logs that a manager writes the status of a JobRun.
func (t *traffic) wroteStatus(manager, path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.writers == nil:
		return
	case t.writers[path] == nil:
		t.writers[path] = map[string]bool{}
	}
	t.writers[path][manager] = true
}

// forgetWriters ends the log of who writes statuses, which would fill the memory of a long soak.
func (t *traffic) forgetWriters() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writers = nil
}

// in returns the creates in a namespace by the clock of a history, and the number of JobRuns that were handed over: several
// managers wrote their status.
func (t *traffic) in(namespace string, clock *stopwatch) (creates []create, handedOver int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.log {
		if c.Namespace != namespace {
			continue
		}
		c.Sent = c.sent.Sub(clock.began)
		if c.Code != 0 {
			c.Answered = c.answered.Sub(clock.began)
		}
		creates = append(creates, c.create)
	}
	for path, managers := range t.writers {
		if len(managers) > 1 && strings.Contains(path, "/namespaces/"+namespace+"/") {
			handedOver++
		}
	}
	return creates, handedOver, t.err
}

// hold holds back the first create for a run. It returns the held create, and a function that ends the hold.
func (t *traffic) hold(run string, stall time.Duration) (h *held, release func()) {
	h = &held{stall: stall, taken: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held[run] = h
	return h, func() { t.heldBack(create{Run: run}) }
}

// heldBack returns how to hold a create back, once for each run; nil if it must not be held back.
func (t *traffic) heldBack(c create) *held {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.held[c.Run]
	delete(t.held, c.Run)
	return h
}

// held is the create of a Job that is held back.
type held struct {
	// stall is how long the manager waits before its connection is cut off.
	stall time.Duration
	// taken is closed when a gate has the create.
	taken  chan struct{}
	gate   *gate
	create *jobCreate
}

func (h *held) take(g *gate, c *jobCreate) {
	c.Held = true
	h.gate, h.create = g, c
	close(h.taken)
}
