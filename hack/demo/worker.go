// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"time"
)

func (d *demo) worked(ctx context.Context) error {
	d.say("9. A worker of yours. A run without a template waits for a process that claims it: no Pod. The first one hangs and\n" +
		"   is killed; its lease expires three seconds after its last renewal, and the second one does the work.")
	if err := d.kubectl(ctx, "apply", "-f", "config/samples/count-words.yaml"); err != nil {
		return err
	}
	if err := d.dies(ctx); err != nil {
		return err
	}
	worker, err := d.startWorker(ctx, "worker-2", "hack/demo/count-words.sh")
	if err != nil {
		return err
	}
	defer worker.end()
	if err := d.kubectl(ctx, "wait", "--for=condition=Complete", "jobrun/count-words", "--timeout=60s"); err != nil {
		return err
	}
	return d.shows(ctx, []string{`"file":"README.md","words":`},
		"get", "jobrun", "count-words", "-o", "jsonpath=generation {.status.finishedGeneration}: {.status.output}{\"\\n\"}")
}

// dies starts a worker that claims the run, and kills it.
func (d *demo) dies(ctx context.Context) error {
	worker, err := d.startWorker(ctx, "worker-1", "sleep", "600")
	if err != nil {
		return err
	}
	defer worker.end()
	if err := d.quietly(ctx, "wait", "--for=jsonpath={.status.phase}=Leased", "jobrun/count-words", "--timeout=30s"); err != nil {
		worker.end()
		return fmt.Errorf("%w\n%s", err, worker.log)
	}
	if err := d.kubectl(ctx, "get", "jobrun", "count-words", "-o", "wide"); err != nil {
		return err
	}
	fmt.Println("$ kill -9 %1")
	return nil
}

// workerProcess is a `kubectl jobrun worker` in the background.
type workerProcess struct {
	command *exec.Cmd
	log     *bytes.Buffer
}

func (d *demo) startWorker(ctx context.Context, name string, command ...string) (*workerProcess, error) {
	args := append([]string{"jobrun", "worker", "--job", "count-words", "--name", name, "--"}, command...)
	fmt.Println("$ kubectl " + quoted(args) + " &")
	w := &workerProcess{command: d.withPlugins(ctx, args...), log: &bytes.Buffer{}}
	w.command.Stdout, w.command.Stderr = w.log, w.log
	w.command.WaitDelay = time.Second // The command that the worker executes may outlive it.
	return w, w.command.Start()
}

// end kills the worker. The error of Wait only says that it was killed.
func (w *workerProcess) end() {
	_ = w.command.Process.Kill()
	_ = w.command.Wait()
}
