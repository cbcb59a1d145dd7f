// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	pollInterval = 50 * time.Millisecond
	probeTimeout = 5 * time.Second
	tailLines    = 25
)

// ProcessSpec describes a process to start.
type ProcessSpec struct {
	// Name is used in messages. The default is the name of the binary.
	Name string
	Path string
	Args []string
	// Dir is the working directory, which is made if it is missing. The default is that of this process.
	Dir string
	// Env is added to this process's own environment.
	Env []string
	// LogFile is the file to which the output of the process is appended.
	LogFile string
}

// Process is a child process with its own process group. The group ends with the process. On Linux the process is killed
// when this process dies, for whatever reason.
type Process struct {
	Name    string
	LogFile string

	cmd     *exec.Cmd
	done    chan struct{}
	waitErr error // valid once done is closed
}

// StartProcess starts a process and does not wait until it is ready. See WaitReady.
func StartProcess(spec ProcessSpec) (*Process, error) {
	if spec.Name == "" {
		spec.Name = filepath.Base(spec.Path)
	}
	if err := os.MkdirAll(filepath.Dir(spec.LogFile), 0o755); err != nil {
		return nil, err
	}
	if spec.Dir != "" {
		if err := os.MkdirAll(spec.Dir, 0o755); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(spec.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // The child has its own copy.
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Dir = spec.Dir
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = processAttributes()

	p := &Process{Name: spec.Name, LogFile: spec.LogFile, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return p, nil
}

func (p *Process) run(started chan<- error) {
	// The kernel ties the death signal to the thread that forked, so the thread must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.waitErr = p.cmd.Wait()
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // It kills the rest of the group.
	close(p.done)
}

// PID returns the id of the process, which is also the id of its process group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exited reports whether the process has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits until the process has ended. It returns the *exec.ExitError of a process that failed.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.waitErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Signal sends a signal, for example SIGSTOP or SIGCONT, to the whole process group.
func (p *Process) Signal(signal syscall.Signal) error {
	if p.Exited() {
		return os.ErrProcessDone
	}
	return syscall.Kill(-p.PID(), signal)
}

// Kill9 kills the process group with SIGKILL, and waits for the process.
func (p *Process) Kill9() error {
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	<-p.done
	return nil
}

// Stop asks the process to end, and kills it after the grace. It returns an error if it had to kill the process. It
// returns nil if the process had already ended.
func (p *Process) Stop(grace time.Duration) error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} { // SIGCONT resumes a stopped process, so that it handles SIGTERM.
		if err := p.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop %s: %w", p.Name, err)
		}
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		return errors.Join(p.errorf("had to be killed: it did not end within %s of SIGTERM", grace), p.Kill9())
	}
}

// WaitReady waits until the probe succeeds. It gives up when ctx or the process ends.
func (p *Process) WaitReady(ctx context.Context, probe func(context.Context) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := runProbe(ctx, probe)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.errorf("ended before it was ready: %s", p.cmd.ProcessState)
		case <-ctx.Done():
			return p.errorf("is not ready: %w (last probe: %w)", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func runProbe(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return probe(ctx)
}

// errorf returns an error that ends with the path and the last lines of the log.
func (p *Process) errorf(format string, args ...any) error {
	return fmt.Errorf("%s %w\nthe end of %s:\n%s", p.Name, fmt.Errorf(format, args...), p.LogFile, p.LogTail())
}

// LogTail returns the last lines of the log.
func (p *Process) LogTail() string {
	log, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return "\t" + strings.Join(lines[max(0, len(lines)-tailLines):], "\n\t")
}

// HTTPReady returns a probe that succeeds if the URL answers 200.
func HTTPReady(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s", url, response.Status)
		}
		return nil
	}
}
