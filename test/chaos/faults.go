// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"
)

// fault is one way in which something fails.
type fault struct {
	name  string
	about string
	// least and most bound how long it lasts, and every how often it is injected.
	least, most, every time.Duration
	// inject lets it happen, and heals what does not heal by itself. It waits in between, by pause.
	inject func(context.Context, *world, Injection) error
	// punctual is whether one controller leads and what it writes comes in time, so
	// that nothing may lag behind.
	punctual bool
	// begin, if there is nothing to inject at a time, changes the scenario from its start.
	begin func(*world)
}

// twoLeaders is longer than the Lease of the leader, 15 seconds, so that another one leads meanwhile.
const twoLeaders = 18 * time.Second

// longest is how long a fault waits, beyond the end of the faults if need be, for what it is to break.
const longest = time.Minute

var faults = []fault{
	{name: "kill-leader", about: "kill -9 of the manager that leads", every: 5 * time.Second, inject: killLeader},
	{name: "kill-manager", about: "kill -9 of any manager", inject: killManager},
	{
		name: "pause-leader", about: "SIGSTOP of the leader for longer than its Lease, then SIGCONT",
		least: twoLeaders, most: twoLeaders + 2*time.Second, every: 30 * time.Second, inject: pauseLeader,
	},
	{
		name: "fast-clock", about: "the clock of one replica, which leads, is an hour ahead",
		least: 10 * time.Second, most: 20 * time.Second, every: 45 * time.Second, inject: fastClock,
	},
	{name: "restart-apiserver", about: "restart of the API server", every: 10 * time.Second, inject: restartAPIServer},
	{
		name: "kill-apiserver", about: "kill -9 of the API server",
		most: 2 * time.Second, every: 10 * time.Second, inject: killAPIServer,
	},
	{name: "kill-etcd", about: "kill -9 of etcd", most: 2 * time.Second, every: 8 * time.Second, inject: killEtcd},
	{
		name: "slow-api", about: "latency between a manager and the API server",
		least: 2 * time.Second, most: 6 * time.Second, inject: slowAPI,
	},
	{
		name: "reset-api", about: "resets between a manager and the API server",
		least: time.Second, most: 3 * time.Second, inject: resetAPI,
	},
	{
		name: "cut-api", about: "answers of the API server to a manager cut off after the request got through",
		least: 2 * time.Second, most: 5 * time.Second, inject: cutAPI,
	},
	{
		name: "slow-webhook", about: "latency between the API server and the webhook",
		punctual: true,
		least:    2 * time.Second, most: 6 * time.Second, inject: slowWebhook,
	},
	{
		name: "reset-webhook", about: "resets between the API server and the webhook",
		punctual: true,
		least:    time.Second, most: 3 * time.Second, inject: resetWebhook,
	},
	{
		name: "cut-webhook", about: "answers of the webhook cut off after the request got through",
		punctual: true,
		least:    2 * time.Second, most: 5 * time.Second, inject: cutWebhook,
	},
	{
		name: "hang-webhook", about: "a webhook that times out",
		punctual: true,
		least:    2 * time.Second, most: 11 * time.Second, inject: hangWebhook,
	},
	{name: "close-watches", about: "all watches of a manager closed", inject: closeWatches},
	{
		name: "lag-watches", about: "watches of a manager that lag by seconds",
		least: 3 * time.Second, most: 8 * time.Second, inject: lagWatches,
	},
	{
		name: "refuse", about: "creates that admission accepts and a policy refuses",
		punctual: true,
		begin:    func(w *world) { w.crowd.refused = true },
	},
	{
		name: "collide", about: "creates that a name collision kills after admission",
		punctual: true,
		begin:    func(w *world) { w.crowd.collide = true },
	},
	{
		name: "delete-runkeys", about: "RunKeys deleted by hand",
		least: time.Second, most: 3 * time.Second, inject: deleteRunKeys,
	},
	{
		name: "delete-namespace", about: "a namespace deleted in the middle of its runs",
		every: 15 * time.Second, inject: deleteNamespace,
	},
	{
		name: "kill-worker", about: "an external worker cut off for good",
		punctual: true, every: 4 * time.Second, inject: killWorker,
	},
}

var faultsByName = func() map[string]fault {
	byName := map[string]fault{}
	for _, f := range faults {
		byName[f.name] = f
	}
	return byName
}()

// punctual reports whether nothing may lag behind under any of the faults.
func punctual(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !faultsByName[name].punctual })
}

// errNoEffect is that a fault found nothing to break.
var errNoEffect = errors.New("the fault had no effect")

// patience is for a fault that would have no effect if it ended with the others.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), longest)
}

// pause waits, but not beyond the end of the faults.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (w *world) drawn(i Injection) *replica { return w.cluster.replicas[i.Draw%managers] }

func killLeader(ctx context.Context, w *world, _ Injection) error {
	patient, cancel := patience(ctx) // Nobody leads while another fault is at it.
	defer cancel()
	leader, err := w.cluster.leader(patient)
	if err != nil {
		return unlessOver(patient, err)
	}
	return leader.kill()
}

// killManager spares who is stopped, or dead already: it would make no difference.
func killManager(_ context.Context, w *world, i Injection) error {
	for n := range w.cluster.replicas {
		r := w.cluster.replicas[(i.Draw+uint64(n))%managers]
		if m := r.process(); m != nil && !m.Exited() && !r.isStopped() {
			return r.kill()
		}
	}
	return errNoEffect
}

// unlessOver forgives what a fault could not do because the time of faults was over.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return errNoEffect
}

func pauseLeader(ctx context.Context, w *world, i Injection) error {
	w.leadership.Lock()
	defer w.leadership.Unlock()
	leader, err := w.cluster.leader(ctx)
	if err != nil {
		return unlessOver(ctx, err)
	}
	leader.stop(true)
	defer leader.stop(false)
	m := leader.process()
	if err := m.Signal(syscall.SIGSTOP); err != nil {
		return unlessExited(m, err)
	}
	pause(context.WithoutCancel(ctx), i.For) // a shorter one would not be this fault
	return unlessExited(m, m.Signal(syscall.SIGCONT))
}

// unlessExited forgives what could not be done to a process that was killed.
func unlessExited(m interface{ Exited() bool }, err error) error {
	if m.Exited() {
		return errNoEffect
	}
	return err
}

// fastClock lets a replica lead whose clock is ahead, and one whose clock is right after it.
func fastClock(ctx context.Context, w *world, i Injection) error {
	fast := w.drawn(i)
	if err := w.leadAhead(ctx, fast); err != nil {
		return err
	}
	pause(ctx, i.For)
	fast.setAhead(0)
	return fast.kill()
}

// leadAhead keeps the other replicas down until the one with the clock that is ahead leads.
func (w *world) leadAhead(ctx context.Context, fast *replica) error {
	w.leadership.Lock()
	defer w.leadership.Unlock()
	for _, r := range w.cluster.replicas {
		r.setAhead(0)
	}
	fast.setAhead(time.Hour)
	if err := fast.kill(); err != nil {
		return err
	}
	for _, r := range w.cluster.replicas {
		if r != fast {
			r.hold(true)
			defer r.hold(false)
			if err := r.kill(); err != nil {
				return err
			}
		}
	}
	// One that does not come to lead would not be this fault.
	patient, cancel := patience(ctx)
	defer cancel()
	for patient.Err() == nil {
		if fast.leads(patient) {
			return nil
		}
		pause(patient, pollInterval)
	}
	return errNoEffect
}

func restartAPIServer(_ context.Context, w *world, _ Injection) error {
	w.apiServer.Lock()
	defer w.apiServer.Unlock()
	return w.cluster.plane.RestartAPIServer(context.Background())
}

func killAPIServer(ctx context.Context, w *world, i Injection) error {
	w.apiServer.Lock()
	defer w.apiServer.Unlock()
	if err := w.cluster.plane.KillAPIServer(); err != nil {
		return err
	}
	pause(ctx, i.For)
	return w.cluster.plane.StartAPIServer(context.Background())
}

func killEtcd(ctx context.Context, w *world, i Injection) error {
	w.etcd.Lock()
	defer w.etcd.Unlock()
	if err := w.cluster.plane.KillEtcd(); err != nil {
		return err
	}
	pause(ctx, i.For)
	return w.cluster.plane.StartEtcd(context.Background())
}

func killWorker(_ context.Context, w *world, i Injection) error {
	return w.crew.bury(w.working, int(i.Draw%workers))
}
