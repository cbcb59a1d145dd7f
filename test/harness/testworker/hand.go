// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/testing/history"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

// gatePoll is how often a run checks whether its gate is open.
const gatePoll = 100 * time.Millisecond

// input is the input of a run.
type input struct {
	Steps    int      `json:"steps"`
	Pause    duration `json:"pause"`
	Progress bool     `json:"progress"`
	Gate     string   `json:"gate"`
}

type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

// hand executes runs.
type hand struct {
	recorder *history.Recorder
	holder   string
	world    world
	api      client.Client
}

func newHand(config *rest.Config, recorder *history.Recorder, holder, dir string) (*hand, error) {
	api, err := newClient(config)
	if err != nil {
		return nil, err
	}
	return &hand{recorder: recorder, holder: holder, world: world{dir}, api: api}, nil
}

func (h *hand) operation(kind history.Kind, run *worker.Run) history.Operation {
	return history.Operation{
		Kind: kind, Key: history.KeyOf(run.JobRun()), Run: run.Name, Generation: run.Generation, Holder: h.holder,
	}
}

func (h *hand) handle(ctx context.Context, run *worker.Run) (any, error) {
	var in input
	if err := run.Input(&in); err != nil {
		return nil, err
	}
	executed := h.recorder.Call(h.operation(history.Execute, run))
	err := h.work(ctx, run, in)
	cause := context.Cause(ctx)
	if cause == nil {
		executed(history.OK, "")
		return map[string]any{"by": h.holder, "generation": run.Generation}, err
	}
	executed(history.OK, cause.Error())
	if errors.Is(cause, worker.ErrLeaseLost) {
		h.insist(context.WithoutCancel(ctx), run)
	}
	return nil, cause
}

func (h *hand) work(ctx context.Context, run *worker.Run, in input) error {
	for step := range in.Steps {
		// The last step is a write, so that a process that was stopped before it learns that its lease is lost.
		if step > 0 && !pause(ctx, time.Duration(in.Pause)) {
			return context.Cause(ctx)
		}
		err := h.write(run, strconv.Itoa(step))
		if errors.Is(err, errFenced) {
			<-ctx.Done() // The lease is lost. The worker will notice soon.
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if in.Progress {
			_ = run.Progress(ctx, int64(step), int64(in.Steps), "")
		}
	}
	for in.Gate != "" {
		if _, err := os.Stat(in.Gate); err == nil {
			return nil
		}
		if !pause(ctx, gatePoll) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// write changes the world, which the API server does not see.
func (h *hand) write(run *worker.Run, what string) error {
	written := h.recorder.Call(h.operation(history.Write, run))
	token := run.JobRun().Status.Lease.KeyVersion
	if token == "" {
		token = strconv.FormatInt(run.Generation, 10)
	}
	err := h.world.add(history.KeyOf(run.JobRun()), token, entry{run.Name, run.Generation, h.holder, what})
	if errors.Is(err, errFenced) {
		written(history.Refused, err.Error())
		return err
	}
	if err != nil {
		return err
	}
	written(history.OK, "")
	return nil
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
