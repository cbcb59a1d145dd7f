// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// command is the command of a container's process.
type command struct {
	line           []string
	env            map[string]string
	dir            string
	output         io.Writer
	terminationLog string // the file at /dev/termination-log, if any
}

// process is a running command, the leader of its own process group.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // It is closed once the whole group has ended.

	mu     sync.Mutex
	reaped bool // The group's id may then belong to another group.
}

// start runs a command in a new process group.
func (l *launcher) start(c command) (*process, error) {
	if len(c.line) == 0 {
		return nil, errors.New("the container has no command: its image is not pulled, so the image's entrypoint is not known")
	}
	if info, err := os.Stat(c.dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("workingDir %s: no such directory on this machine (images are not pulled)", c.dir)
	}
	path, err := lookPath(c.line[0], c.env["PATH"])
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: path,
		Args: c.line,
		Dir:  c.dir,
		// Stdout and Stderr are one writer that is not a file. So the process gets one pipe, which it can also open as
		// /dev/stdout.
		Stdout: c.output,
		Stderr: c.output,
		// A descendant that left the group may keep the pipe open for ever.
		WaitDelay:   time.Second,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	for name, value := range c.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := l.launch(cmd, c.terminationLog); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.wait()
		l.forget(cmd.Process.Pid)
		close(p.done)
	}()
	return p, nil
}

// wait reaps the process and kills the rest of its group, as the end of a container's first process ends the container.
func (p *process) wait() {
	pid := p.cmd.Process.Pid
	for {
		// The group is killed before its leader is reaped, while no other group can have its id.
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.signal(unix.SIGKILL)
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	// The process's state has the error.
	_ = p.cmd.Wait()
}

// signal sends a signal to the process group.
func (p *process) signal(sig unix.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(-p.cmd.Process.Pid, sig)
	}
}

// supervise returns when the group has ended. It sends SIGTERM when terminate is closed, and SIGKILL when kill is closed.
func (p *process) supervise(terminate, kill <-chan struct{}) {
	select {
	case <-p.done:
		return
	case <-terminate:
		p.signal(unix.SIGTERM)
	}
	select {
	case <-p.done:
	case <-kill:
		p.signal(unix.SIGKILL)
		<-p.done
	}
}

// exitCode returns the exit code of the process, or 128 plus the number of the signal that ended it.
func (p *process) exitCode() int32 {
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int32(status.Signal())
	}
	return int32(status.ExitStatus())
}

// lookPath finds a program in the container's PATH, which may differ from localnode's.
func lookPath(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(found) {
			return found, nil
		}
	}
	return "", fmt.Errorf("%q: not found on this machine in PATH %s (images are not pulled)", name, path)
}
