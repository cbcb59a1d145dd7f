// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command testworker is an external worker for tests. It is built on pkg/worker, does real work, may be killed at any
// time, and records its calls and their answers.
//
// The input of a run describes its work: {"steps": 10, "pause": "100ms", "gate": FILE}. Each step appends a line to the
// file of the run's key in --world, with a pause between steps. The file is fenced: it refuses a line of an earlier
// holder. At the end the run waits until the file gate exists, if one is named.
//
// After it has lost a lease, the process makes every write that a worker without an SDK might still make.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"github.com/jobrun-dev/jobrun/internal/testing/history"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

type options struct {
	server, namespace, jobs, identity, history, world string
	workers, concurrency                              int
	clockOff                                          time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.server, "server", "", "`address` of the API server; the default is that of KUBECONFIG")
	flag.StringVar(&o.namespace, "namespace", "default", "`namespace` of the runs")
	flag.StringVar(&o.jobs, "jobs", "", "`names` of the jobs, separated by commas")
	flag.StringVar(&o.identity, "identity", "", "`name` of the worker, or the prefix of the names of several workers")
	flag.IntVar(&o.workers, "workers", 1, "number of workers in the process")
	flag.IntVar(&o.concurrency, "concurrency", 1, "number of runs that a worker executes at once")
	flag.StringVar(&o.history, "history", "", "`file` to which the history is appended")
	flag.StringVar(&o.world, "world", "", "`directory` to work in")
	flag.DurationVar(&o.clockOff, "clock-off", 0, "how far the clock is ahead, or behind if negative")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "testworker:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags(o.server, os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
	if err != nil {
		return err
	}
	log, err := os.OpenFile(o.history, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	recorder := history.NewRecorder(log, o.identity)
	group, ctx := errgroup.WithContext(ctx)
	for i := range o.workers {
		identity := o.identity
		if o.workers > 1 {
			identity += "-" + strconv.Itoa(i)
		}
		w, err := newWorker(config, recorder, identity, o)
		if err != nil {
			return err
		}
		group.Go(func() error { return w.Run(ctx) })
	}
	return group.Wait()
}

func newWorker(config *rest.Config, recorder *history.Recorder, identity string, o options) (*worker.Worker, error) {
	config = rest.CopyConfig(config)
	tap := newTap(recorder, identity)
	config.Wrap(tap.wrap)
	w, err := worker.NewForConfig(config, worker.Options{
		Namespace: o.namespace, Identity: identity, Concurrency: o.concurrency, ShutdownGrace: -1,
		Clock:  skewed{by: o.clockOff},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		return nil, err
	}
	hand, err := newHand(config, recorder, identity, o.world)
	if err != nil {
		return nil, err
	}
	for job := range strings.SplitSeq(o.jobs, ",") {
		w.Handle(job, hand.handle)
	}
	return w, nil
}

// skewed is a clock that is wrong.
type skewed struct {
	clock.RealClock

	by time.Duration
}

func (c skewed) Now() time.Time                  { return time.Now().Add(c.by) }
func (c skewed) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
