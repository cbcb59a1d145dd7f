// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	// restartPause is the time from the end of a manager to its next start.
	restartPause  = 500 * time.Millisecond
	scrapeTimeout = 2 * time.Second
)

// replica is one replica of the manager. Its process is started again whenever it ends, as by a Deployment. It reaches
// the API server through a link and a gate of its own.
type replica struct {
	cluster    *cluster
	number     int
	link       *link
	gate       *gate
	kubeconfig string
	keeping    sync.WaitGroup

	mu      sync.Mutex
	manager *operator.Manager // the latest process
	ready   bool
	stopped bool          // by SIGSTOP
	ahead   time.Duration // how much the clock of the next process is ahead
}

func (c *cluster) newReplica(n int) (*replica, error) {
	config, err := clientcmd.LoadFromFile(c.operator.Kubeconfig())
	if err != nil {
		return nil, err
	}
	r := &replica{
		cluster: c, number: n,
		kubeconfig: filepath.Join(c.plane.Dir(), "kubeconfig", fmt.Sprintf("replica-%d", n)),
	}
	for _, server := range config.Clusters {
		target, err := url.Parse(server.Server)
		if err != nil {
			return nil, err
		}
		if r.gate, err = newGate(r, filepath.Join(c.plane.Dir(), fmt.Sprintf("gate-%d", n)), target, server.CertificateAuthorityData); err != nil {
			return nil, fmt.Errorf("start the gate of replica %d: %w", n, err)
		}
		if r.link, err = c.network.to(fmt.Sprintf("api-%d", n), r.gate.listen); err != nil {
			return nil, err
		}
		server.Server, server.CertificateAuthorityData = "https://"+r.link.Listen, r.gate.bundle
	}
	return r, clientcmd.WriteToFile(*config, r.kubeconfig)
}

// keep runs the replica until the context is done.
func (r *replica) keep(ctx context.Context) {
	for ctx.Err() == nil {
		if m := r.start(); m != nil {
			r.await(ctx, m)
			r.ended()
		}
		select {
		case <-ctx.Done():
		case <-time.After(restartPause):
		}
	}
}

// start starts a process. It returns nil if the start fails.
func (r *replica) start() *operator.Manager {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, err := r.cluster.operator.StartReplica(operator.Replica{Kubeconfig: r.kubeconfig, Env: []string{
		// Watches get connections of their own, so that they can lag behind other answers.
		"DISABLE_HTTP2=true",
		"JOBRUN_CHAOS_CLOCK_AHEAD=" + r.ahead.String(),
		"JOBRUN_CHAOS_REQUEST_TIMEOUT=" + apiTimeout.String(),
	}})
	if err != nil {
		r.cluster.say("replica %d does not start: %v", r.number, err)
		return nil
	}
	r.manager = m
	return m
}

// await waits for the end of a manager. It kills a manager that does not become ready.
func (r *replica) await(ctx context.Context, m *operator.Manager) {
	if err := r.cluster.operator.AwaitReady(ctx, m); err == nil {
		r.mu.Lock()
		r.ready = r.manager == m && !m.Exited()
		r.mu.Unlock()
	} else if !m.Exited() && ctx.Err() == nil {
		_ = m.Kill9() // as a liveness probe would
	}
	select {
	case <-m.Done():
	case <-ctx.Done():
	}
}

func (r *replica) ended() {
	r.mu.Lock()
	r.ready = false
	r.mu.Unlock()
	r.cluster.operator.Rebalance()
}

// kill kills the process with SIGKILL.
func (r *replica) kill() error {
	if m := r.process(); m != nil {
		return m.Kill9()
	}
	return nil
}

func (r *replica) process() *operator.Manager {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.manager
}

// processName returns the name of the latest process.
func (r *replica) processName() string {
	if m := r.process(); m != nil {
		return m.Name
	}
	return ""
}

func (r *replica) isReady() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready
}

// pause stops the process for a while. It returns errNoEffect if the process exits before the end of the pause.
func (r *replica) pause(ctx context.Context, d time.Duration) error {
	r.stop(true)
	defer r.stop(false)
	m := r.process()
	if err := m.Signal(syscall.SIGSTOP); err != nil {
		return unlessExited(m, err)
	}
	pause(ctx, d)
	return unlessExited(m, m.Signal(syscall.SIGCONT))
}

// unlessExited returns errNoEffect instead of err if the process has exited, which explains the error.
func unlessExited(p interface{ Exited() bool }, err error) error {
	if p.Exited() {
		return errNoEffect
	}
	return err
}

// stop records whether the process is stopped by SIGSTOP.
func (r *replica) stop(stopped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = stopped
}

func (r *replica) isStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// setAhead sets how much the clocks of later processes are ahead.
func (r *replica) setAhead(ahead time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ahead = ahead
}

// awaitMember waits until the replica shares the homes out with all others.
func (r *replica) awaitMember(ctx context.Context) error {
	for !r.isReady() || r.members(ctx) != managers {
		select {
		case <-ctx.Done():
			return fmt.Errorf("replica %d of the manager is not ready: %w", r.number, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
	return nil
}

// members returns how many members share the homes out, as the replica sees it. It returns 0 while the replica owns no
// home, and if it does not answer.
func (r *replica) members(ctx context.Context) int {
	m := r.process()
	if m == nil || m.Exited() {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	metrics, err := r.cluster.operator.Metrics(ctx, m)
	if err != nil {
		return 0
	}
	return int(metrics.Sum("jobrun_members"))
}
