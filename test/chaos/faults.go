// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jobrun-dev/jobrun/internal/membership"
)

// fault is one way in which something fails. It has either inject or begin.
type fault struct {
	name  string
	about string
	// least and most bound the duration of an injection.
	least, most time.Duration
	// every is the least time from one injection to the next.
	every time.Duration
	// inject causes the fault, waits by pause, and heals what does not heal by itself.
	inject func(context.Context, *world, Injection) error
	// begin changes the scenario from its start.
	begin func(*world)
	// replaces means that another manager goes on with the work of one.
	replaces bool
	// punctual means that each home keeps its owner, whose writes are never late, so that statuses and Jobs may not lag.
	punctual bool
}

// longerThanLease is longer than the Lease of a member, so that other managers take over its homes meanwhile.
const longerThanLease = membership.Duration + 3*time.Second

// longest bounds how long after the end of the faults a fault still waits for something to break.
const longest = 2 * time.Minute

var faults = []fault{
	{name: "kill-manager", about: "kill -9 of a manager", replaces: true, every: 3 * time.Second, inject: killManager},
	{name: "kill-managers", about: "kill -9 of all managers at once", replaces: true, every: 30 * time.Second, inject: killManagers},
	{
		name: "pause-manager", about: "SIGSTOP of a manager for longer than its Lease, then SIGCONT", replaces: true,
		least: longerThanLease, most: longerThanLease + 3*time.Second, every: 15 * time.Second, inject: pauseManager,
	},
	{
		name: "fast-clock", about: "a manager whose clock is an hour ahead",
		least: 10 * time.Second, most: 20 * time.Second, every: 45 * time.Second, inject: fastClock,
	},
	{name: "restart-apiserver", about: "restart of the API server", every: 50 * time.Second, inject: restartAPIServer},
	{
		name: "kill-apiserver", about: "kill -9 of the API server",
		most: 2 * time.Second, every: 50 * time.Second, inject: killAPIServer,
	},
	{name: "kill-etcd", about: "kill -9 of etcd", most: 2 * time.Second, every: 40 * time.Second, inject: killEtcd},
	{
		name: "slow-api", about: "latency between a manager and the API server",
		least: 2 * time.Second, most: 6 * time.Second, inject: slowAPI,
	},
	{
		name: "reset-api", about: "resets between a manager and the API server",
		least: time.Second, most: 3 * time.Second, inject: resetAPI,
	},
	{
		name: "cut-api", about: "answers of the API server to a manager cut off after it executed the request",
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
		name: "cut-webhook", about: "answers of the webhook cut off after it handled the request",
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
		name: "collide", about: "creates that fail after admission because their name is taken",
		punctual: true,
		begin:    func(w *world) { w.crowd.collide = true },
	},
	{
		name: "delete-runkeys", about: "RunKeys deleted by hand",
		least: time.Second, most: 3 * time.Second, inject: deleteRunKeys,
	},
	{
		name: "delete-namespace", about: "a namespace deleted while its runs execute",
		every: 15 * time.Second, inject: deleteNamespace,
	},
	{
		name: "kill-worker", about: "an external worker cut off for good",
		punctual: true, every: 4 * time.Second, inject: killWorker,
	},
	{
		name: "kill-gateway", about: "kill -9 of a gateway while commits are under way",
		punctual: true, every: 4 * time.Second, inject: killGateway,
	},
	{
		name: "pause-gateway", about: "SIGSTOP of a gateway while commits are under way, then SIGCONT",
		punctual: true,
		least:    2 * time.Second, most: 6 * time.Second, every: 10 * time.Second, inject: pauseGateway,
	},
	{
		name: "cut-gateway", about: "answers of a gateway to its callers cut off",
		punctual: true,
		least:    time.Second, most: 4 * time.Second, inject: cutGateway,
	},
	{
		name: "cut-gateway-api", about: "answers of the API server to a gateway cut off after it executed the request",
		punctual: true,
		least:    2 * time.Second, most: 5 * time.Second, inject: cutGatewayAPI,
	},
	{
		name: "late-jobs", about: "creates of Jobs that are sent after their runs have lost the lease",
		every: 10 * time.Second, inject: lateJobs,
	},
}

// stories are a part of every scenario, whatever its faults. Without them, chance would decide what a scenario tests.
var stories = []fault{
	{name: "meet", about: "a delivery twice, an absorbed trigger and a dry run", punctual: true, every: 5 * time.Second, inject: meet},
	{name: "share", about: "triggers of a key share a JobRun at a gateway", punctual: true, every: 5 * time.Second, inject: share},
	{name: "expire-alone", about: "a lease expires while no run waits", punctual: true, every: 5 * time.Second, inject: expireAlone},
	{name: "expire-behind", about: "a lease expires while a run waits", punctual: true, every: 5 * time.Second, inject: expireBehind},
	{name: "expire-into", about: "a lease expires while a run waits that gives way", punctual: true, every: 5 * time.Second, inject: expireInto},
}

var faultsByName = func() map[string]fault {
	byName := map[string]fault{}
	for _, f := range slices.Concat(faults, stories) {
		byName[f.name] = f
	}
	return byName
}()

// punctual reports whether all of the faults are punctual.
func punctual(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !faultsByName[name].punctual })
}

// errNoEffect means that a fault found nothing to break.
var errNoEffect = errors.New("the fault had no effect")

// patience returns a context for a fault that may have to wait beyond the end of the faults to have an effect.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	end, bounded := ctx.Deadline()
	if !bounded {
		end = time.Now()
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end.Add(longest))
}

// pause waits, but not longer than the context.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// drawn returns the replica that an injection has drawn.
func (w *world) drawn(i Injection) *replica { return w.cluster.replicas[i.Draw%managers] }

// killManager kills a manager that works, because killing another would have no effect.
func killManager(ctx context.Context, w *world, i Injection) error {
	ctx, cancel := patience(ctx)
	defer cancel()
	r, err := w.awaitWorking(ctx, i)
	if err != nil {
		return err
	}
	return r.kill()
}

// killManagers kills all managers, so nobody remembers what they have seen.
func killManagers(ctx context.Context, w *world, i Injection) error {
	ctx, cancel := patience(ctx)
	defer cancel()
	if _, err := w.awaitWorking(ctx, i); err != nil {
		return err
	}
	var errs []error
	for _, r := range w.cluster.replicas {
		errs = append(errs, r.kill())
	}
	return errors.Join(errs...)
}

// awaitWorking returns a manager that works, preferably the one that the injection has drawn.
func (w *world) awaitWorking(ctx context.Context, i Injection) (*replica, error) {
	for ctx.Err() == nil {
		for n := range w.cluster.replicas {
			if r := w.cluster.replicas[(i.Draw+uint64(n))%managers]; !r.isStopped() && r.members(ctx) > 0 {
				return r, nil
			}
		}
		pause(ctx, pollInterval)
	}
	return nil, errNoEffect
}

// unlessOver returns errNoEffect instead of err if the context is over, which explains the error.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return errNoEffect
}

func pauseManager(ctx context.Context, w *world, i Injection) error {
	patient, cancel := patience(ctx)
	defer cancel()
	for {
		r, err := w.awaitWorking(patient, i)
		if err != nil {
			return err
		}
		err = r.pause(context.WithoutCancel(ctx), i.For) // with a shorter pause, no other manager would take over
		if !errors.Is(err, errNoEffect) {
			return err
		}
	}
}

// fastClock lets a replica work for a while with its clock ahead.
func fastClock(ctx context.Context, w *world, i Injection) error {
	patient, cancel := patience(ctx)
	defer cancel()
	r, err := w.awaitWorking(patient, i)
	if err != nil {
		return err
	}
	r.setAhead(time.Hour)
	defer r.setAhead(0)
	if err := r.kill(); err != nil {
		return err
	}
	for r.members(patient) == 0 {
		if patient.Err() != nil {
			return errNoEffect
		}
		pause(patient, pollInterval)
	}
	pause(ctx, i.For)
	r.setAhead(0)
	return r.kill()
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
	return w.crew.bury(w.working, w.crew.drawn(i))
}
