// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Process is one client process of the API server: a replica of the webhook, a controller, a user's
// kubectl.
type Process struct {
	Name string
	// Cache is its informer cache. Call Cache.Watch before Cache.Sync.
	Cache *Cache
	// Client reads from the cache and writes to the server, like a manager's client.
	Client client.Client
	// Live reads from the server, like a manager's API reader.
	Live client.Reader

	sim     *Sim
	index   int
	ctx     context.Context //nolint:containedctx // it ends with the process
	cancel  context.CancelFunc
	dead    chan struct{}
	crashed bool
	paused  bool // no call and no event of the process is served
}

// cachedClient is a client whose reads come from a cache.
type cachedClient struct {
	*apiClient
	cache *Cache
}

// Get implements client.Reader.
func (c cachedClient) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	return c.cache.Get(ctx, key, obj, opts...)
}

// List implements client.Reader.
func (c cachedClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return c.cache.List(ctx, list, opts...)
}

// NewProcess starts a process without goroutines.
func (s *Sim) NewProcess(name string) (*Process, error) {
	cache, err := s.Server.NewCache()
	if err != nil {
		return nil, err
	}
	p := &Process{Name: name, Cache: cache, sim: s, index: s.processes, dead: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	live := &apiClient{kinds: cache.kinds, send: p.send}
	p.Live = live
	p.Client = cachedClient{apiClient: live, cache: cache}
	if !s.options.AtomicCacheReads {
		cache.yield = p.pause
	}
	s.processes++
	s.caches = append(s.caches, p)
	return p, nil
}

// send implements transport for the clients of the process.
func (p *Process) send(ctx context.Context, r *Request) (*Response, error) {
	if p.sim.fences(r) {
		return p.createJob(ctx, r)
	}
	c := &call{process: p, what: r.String(), choices: readChoices, serve: func() (*Response, error) { return p.sim.Server.Serve(r) }}
	if r.Verb.Writes() {
		c.choices, c.writes = writeChoices, true
	}
	return p.sim.do(ctx, c)
}

// pause waits until the scheduler lets the caller go on, as if the caller made a call.
func (p *Process) pause(ctx context.Context, what string) error {
	_, err := p.sim.do(ctx, &call{process: p, what: what, choices: pauseChoices})
	return err
}

// Go runs f in a goroutine of the process. The trace shows the name. The context ends with the process.
func (p *Process) Go(name string, f func(context.Context)) {
	full := p.Name + " " + name
	p.sim.begin(full)
	go func() {
		defer p.sim.end(full)
		defer func() {
			if r := recover(); r != nil {
				p.sim.failFromProcess(fmt.Sprintf("%s panics: %v\n%s", full, r, debug.Stack()))
			}
		}()
		f(withActor(p.ctx, name))
	}()
}

// Crash kills the process. Its calls are not answered any more, but its pending writes may still be
// executed. Its goroutines may go on for a while, but they cannot make new calls.
func (p *Process) Crash() {
	s := p.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.crashed {
		return
	}
	p.crashed = true
	mine := func(c *call) bool { return c.process == p }
	for _, c := range s.pending {
		if mine(c) {
			s.linger(c)
		}
	}
	s.pending = slices.DeleteFunc(s.pending, mine)
	s.held = slices.DeleteFunc(s.held, mine)
	s.caches = slices.DeleteFunc(s.caches, func(other *Process) bool { return other == p })
	close(p.dead)
	p.cancel()
}

// Crashed reports whether the process is dead.
func (p *Process) Crashed() bool { return p.crashed }

// Machine runs one process at a time. A process that crashes is started again.
type Machine struct {
	sim     *Sim
	name    string
	start   func(*Process) (Source, error)
	process *Process
	source  Source
	starts  int
}

// AddMachine adds a machine and starts its process. The function start builds the production objects on a
// new process, lets its cache watch, and returns the source of the process's steps, or nil. The cache is
// synced after that.
func (s *Sim) AddMachine(name string, start func(*Process) (Source, error)) *Machine {
	m := &Machine{sim: s, name: name, start: start}
	m.boot(0)
	s.Add(m)
	return m
}

// staleBoot is how many events the cache of a starting process lags behind, if the scheduler wants so.
const staleBoot = 3

func (m *Machine) boot(lag int) {
	m.starts++
	p, err := m.sim.NewProcess(fmt.Sprintf("%s.%d", m.name, m.starts))
	if err == nil {
		m.process = p
		m.source, err = m.start(p)
	}
	if err != nil {
		m.sim.Fail("start %s: %v", m.name, err)
		return
	}
	p.Cache.Sync(lag)
}

// Steps implements Source.
func (m *Machine) Steps() []Step {
	if m.process == nil {
		return []Step{
			{Who: m.name, What: "starts", Weight: weightDeliver, Do: func() { m.boot(0) }},
			{Who: m.name, What: "starts with stale caches", Hostile: true, Do: func() { m.boot(staleBoot) }},
		}
	}
	if m.process.paused {
		return []Step{{Who: m.process.Name, What: "goes on", Weight: weightLeap, Do: m.goOn}}
	}
	var steps []Step
	if m.source != nil {
		steps = m.source.Steps()
	}
	if m.sim.pauses < m.sim.options.Pauses {
		steps = append(steps, Step{Who: m.process.Name, What: "pauses", Hostile: true, Do: m.pause})
	}
	if m.sim.crashes < m.sim.options.Crashes {
		steps = append(steps, Step{Who: m.process.Name, What: "crashes", Hostile: true, Do: m.crash})
	}
	return steps
}

func (m *Machine) crash() {
	m.sim.crashes++
	m.process.Crash()
	m.process, m.source = nil, nil
}

// pause stops the process where it is. Its timers go on.
func (m *Machine) pause() {
	m.sim.pauses++
	m.process.paused = true
}

func (m *Machine) goOn() { m.process.paused = false }

// Wake implements Source.
func (m *Machine) Wake() (at time.Time) {
	if m.source != nil {
		at = m.source.Wake()
	}
	return at
}
