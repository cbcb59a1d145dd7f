// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// peer is another queue. Its rows are stated, because it promises other things: docs/performance.md says which.
type peer struct {
	name, what string
	// lacks is what the peer does not promise for a duplicate.
	lacks string
	// size is the number of executions and of duplicates in the rows of the peers, duplicates is that in the gateway's.
	size, duplicates int
	// prepare returns the first argument of the peer's program, and what ends its service.
	prepare func(ctx context.Context, w *world) (argument string, stop func() error, err error)
}

var peers = []peer{
	{"bullmq", "BullMQ on Redis with appendfsync always", "no TLS, no user, no rights, no outcome for the duplicate", 2000, 20_000, startRedis},
	{"durably", "durably on SQLite", "in the caller's own process, one machine", 500, 2000, newDatabase},
}

// peerRates are the jobs executed and the duplicates absorbed per second, one by one and in batches, as hack/bench/peers prints them.
type peerRates struct{ Throughput, Absorb, Batch float64 }

// peerLoad is what a peer has to do.
type peerLoad struct{ executions, duplicates, inFlight int }

// measurePeers measures the peers that hack/bench/peers has installed.
func measurePeers(ctx context.Context, w *world, o Options) ([]Result, error) {
	if !w.hasPeers(o) {
		return nil, nil
	}
	var results []Result
	for _, p := range peers {
		size := o.size(p.size)
		rounds, err := p.measure(ctx, w, o, peerLoad{size, size, 32})
		if err != nil {
			return nil, err
		}
		row := func(row, what string, figure func(peerRates) float64) Result {
			return alone(Result{Row: p.name + "-" + row, What: what + p.what, Unit: "/s", Goal: Goal{Kind: Stated}}, each(rounds, figure))
		}
		results = append(results,
			row("throughput", "jobs completed, 20 in flight, by ", func(r peerRates) float64 { return r.Throughput }),
			row("absorb", "duplicates absorbed, 32 in flight, one hot key, by ", func(r peerRates) float64 { return r.Absorb }),
		)
	}
	return results, nil
}

// measureGatewayPeers measures the duplicates that the peers absorb, beside the rows of the gateway.
func measureGatewayPeers(ctx context.Context, w *world, o Options) ([]Result, error) {
	if !w.hasPeers(o) {
		return nil, nil
	}
	var results []Result
	for _, p := range peers {
		rounds, err := p.measure(ctx, w, o, peerLoad{duplicates: o.size(p.duplicates), inFlight: absorb64.callers})
		if err != nil {
			return nil, err
		}
		row := Result{Row: "gateway-" + p.name, What: "duplicates absorbed, 64 in flight, one hot key, by " + p.what + ": " + p.lacks, Unit: "/s", Goal: Goal{Kind: Stated}}
		results = append(results, alone(row, each(rounds, func(r peerRates) float64 { return r.Absorb })))
		if rounds[0].Batch > 0 {
			row.Row, row.What = row.Row+"-batch", "... in batches of 100"
			results = append(results, alone(row, each(rounds, func(r peerRates) float64 { return r.Batch })))
		}
	}
	return results, nil
}

// hasPeers reports whether the peers are installed, and says so if they are not.
func (w *world) hasPeers(o Options) bool {
	_, err := os.Stat(filepath.Join(peerPrograms(o), "node_modules"))
	if err != nil {
		fmt.Fprintln(w.log, "the rows of the peers are left out: `make peers` has not installed them")
	}
	return err == nil
}

func peerPrograms(o Options) string { return filepath.Join(o.Root, "bin", "peers") }

func (p peer) measure(ctx context.Context, w *world, o Options, load peerLoad) ([]peerRates, error) {
	var rounds []peerRates
	for range o.Rounds {
		rates, err := p.round(ctx, w, filepath.Join(peerPrograms(o), p.name+".mjs"), load)
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", p.name, err)
		}
		rounds = append(rounds, rates)
	}
	return rounds, nil
}

func (p peer) round(ctx context.Context, w *world, program string, load peerLoad) (rates peerRates, err error) {
	argument, stop, err := p.prepare(ctx, w)
	if err != nil {
		return rates, err
	}
	defer func() {
		if stopErr := stop(); err == nil {
			err = stopErr
		}
	}()
	if err := w.quiet(ctx); err != nil {
		return rates, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var stderr bytes.Buffer
	node := exec.CommandContext(ctx, "node", program, argument, strconv.Itoa(load.executions), strconv.Itoa(load.duplicates), strconv.Itoa(load.inFlight))
	node.Stderr = &stderr
	out, err := node.Output()
	if err != nil {
		return rates, fmt.Errorf("%w: %s", err, stderr.String())
	}
	return rates, json.Unmarshal(out, &rates)
}

// startRedis starts an empty Redis that syncs each write to the disk before it answers.
func startRedis(ctx context.Context, w *world) (port string, stop func() error, err error) {
	address, err := controlplane.FreeAddress()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp(w.cp.Dir(), "redis-")
	if err != nil {
		return "", nil, err
	}
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return "", nil, err
	}
	host, port, _ := net.SplitHostPort(address)
	redis, err := w.cp.Run(controlplane.ProcessSpec{
		Name: "redis-server", Path: binary, Dir: dir,
		Args: []string{"--bind", host, "--port", port, "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always"},
	})
	if err != nil {
		return "", nil, err
	}
	return port, func() error { return redis.Stop(stopGrace) }, redis.WaitReady(ctx, func(ctx context.Context) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

func newDatabase(_ context.Context, w *world) (file string, stop func() error, err error) {
	dir, err := os.MkdirTemp(w.cp.Dir(), "sqlite-")
	return filepath.Join(dir, "runs.db"), func() error { return nil }, err
}
