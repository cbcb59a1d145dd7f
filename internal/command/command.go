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

// Drain is how long Run waits, after a program has ended, for children that keep stdout or stderr open.
const Drain = time.Second

// maxStderr is how many bytes of the end of stderr Run keeps, for the message of a failure.
const maxStderr = 4 << 10

// Command is a program that is executed once per run.
type Command struct {
	path string
	args []string
	// Grace is how long the program may go on after SIGTERM.
	Grace time.Duration
}

// Execution is the input of one execution of a Command.
type Execution struct {
	// Env is added to the environment of this process.
	Env []string
	// Stdin may be left unread.
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

// Hopeless reports whether the program is missing or may not be executed, so that every run would fail.
func (e *StartError) Hopeless() bool {
	return errors.Is(e.err, os.ErrNotExist) || errors.Is(e.err, os.ErrPermission)
}

// Find finds a program as a shell does.
func Find(name string, args ...string) (*Command, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, err
	}
	return &Command{path: path, args: args}, nil
}

// Run executes the program and returns its output: the last JSON value of stdout,
// nil if there is none.
//
// If the context ends first, the program's group gets SIGTERM and, after Grace, SIGKILL.
// The error is then the context's cause, whatever the program exits with.
// Run also returns an error if the program cannot start (*StartError), if it fails, or if its
// output is too large.
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
	kill(process.Process) // The group may still have children of the program.
	switch {
	case stopped:
		return nil, context.Cause(ctx)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, failure(process.ProcessState, err, stderr)
	default:
		return output(stdout)
	}
}

// await waits for the end of the program, and stops it when the context ends.
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

// failure returns an error that tells in one line how a program failed.
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
