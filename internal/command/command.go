// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Drain limits how long Run waits for children that keep stdout or stderr open after the program has ended.
const Drain = time.Second

// maxStderr is the number of bytes that Run keeps from the end of stderr. Run puts the last line into its error.
const maxStderr = 4 << 10

// Command is a program that is executed once per run.
type Command struct {
	path string
	args []string
	// Grace is the time between SIGTERM and SIGKILL.
	Grace time.Duration
}

// Execution is the input of one execution of a Command.
type Execution struct {
	// Env is added to the environment of this process.
	Env []string
	// Stdin is the text on stdin. The program need not read it.
	Stdin string
	// Stdout and Stderr get the program's output as it is written.
	Stdout, Stderr io.Writer
}

// StartError means that the program could not be started: nothing was executed.
type StartError struct{ err error }

// Error returns the message.
func (e *StartError) Error() string { return fmt.Sprintf("cannot start the command: %v", e.err) }

// Unwrap returns the operating system's error.
func (e *StartError) Unwrap() error { return e.err }

// Hopeless reports whether the program is missing, or this process has no permission to execute it. Then every run
// would fail.
func (e *StartError) Hopeless() bool {
	return errors.Is(e.err, os.ErrNotExist) || errors.Is(e.err, os.ErrPermission)
}

// Find searches PATH for a program, as a shell does.
func Find(name string, args ...string) (*Command, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, err
	}
	return &Command{path: path, args: args}, nil
}

// Run executes the program and returns its output: the last JSON value of stdout. The output is nil if stdout has no
// JSON value.
//
// If the context ends first, Run sends SIGTERM to the program's process group, and SIGKILL after Grace. Run then returns
// the context's cause, whatever the program's exit code is. Run also returns an error if the program cannot start
// (*StartError), if it fails, or if its output is too large.
func (c *Command) Run(ctx context.Context, x Execution) (json.RawMessage, error) {
	stdout, stderr := &tail{limit: MaxOutput, through: x.Stdout}, &tail{limit: maxStderr, through: x.Stderr}
	process := exec.Command(c.path, c.args...) //nolint:gosec // the user names the program
	process.Env = append(os.Environ(), x.Env...)
	process.Stdin, process.Stdout, process.Stderr = strings.NewReader(x.Stdin), stdout, stderr
	process.SysProcAttr = ownGroup()
	process.WaitDelay = Drain
	if err := process.Start(); err != nil {
		return nil, &StartError{err}
	}
	stopped, err := c.await(ctx, process)
	kill(process.Process) // Children of the program may still run in its process group.
	switch {
	case stopped:
		return nil, context.Cause(ctx)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, failure(process.ProcessState, err, stderr)
	default:
		return output(stdout)
	}
}

// await waits until the program ends. If the context ends first, await stops the program.
func (c *Command) await(ctx context.Context, process *exec.Cmd) (stopped bool, err error) {
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	select {
	case err = <-ended:
		return false, err
	case <-ctx.Done():
	}
	terminate(process.Process)
	select {
	case err = <-ended:
		return true, err
	case <-time.After(c.Grace):
	}
	kill(process.Process)
	return true, <-ended
}

// failure returns an error that describes in one line how a program failed.
func failure(state *os.ProcessState, err error, stderr *tail) error {
	how := err.Error()
	if state != nil && state.ExitCode() >= 0 {
		how = fmt.Sprintf("exit code %d", state.ExitCode())
	}
	if line := stderr.lastLine(); line != "" {
		how += ": " + line
	}
	return errors.New(how)
}
