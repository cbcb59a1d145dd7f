// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func shell(t *testing.T, script string) *Process {
	t.Helper()
	process, err := StartProcess(ProcessSpec{
		Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"GREETING=hello"},
		LogFile: filepath.Join(t.TempDir(), "logs", "sh.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Kill9() })
	return process
}

func printed(process *Process, text string) func(context.Context) error {
	return func(context.Context) error {
		if !strings.Contains(process.LogTail(), text) {
			return errors.New("not printed yet")
		}
		return nil
	}
}

func TestProcessStop(t *testing.T) {
	process := shell(t, `trap 'echo bye; exit 3' TERM; echo $GREETING; while :; do sleep 0.05; done`)
	if err := process.WaitReady(t.Context(), printed(process, "hello")); err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := process.Stop(time.Minute); err != nil { // The process is paused.
		t.Error(err)
	}
	if err := process.Wait(t.Context()); err == nil || err.Error() != "exit status 3" {
		t.Errorf("got %v, want exit status 3", err)
	}
	if !strings.Contains(process.LogTail(), "bye") {
		t.Errorf("got log %q, want the word of the trap", process.LogTail())
	}
	if err := errors.Join(process.Stop(time.Second), process.Kill9()); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestProcessGroupEndsWithProcess(t *testing.T) {
	process := shell(t, `sleep 1000 & exit 0`)
	if err := process.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rest of the group is gone", func(context.Context) (bool, error) {
		return errors.Is(syscall.Kill(-process.PID(), 0), syscall.ESRCH), nil
	})
}

func TestProcessThatWillNotStop(t *testing.T) {
	process := shell(t, `trap '' TERM; echo ready; while :; do sleep 0.05; done`)
	if err := process.WaitReady(t.Context(), printed(process, "ready")); err != nil {
		t.Fatal(err)
	}
	if err := process.Stop(100 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "had to be killed") {
		t.Errorf("got %v, want that it had to be killed", err)
	}
	if !process.Exited() {
		t.Error("it still runs")
	}
}

func TestWaitReadyGivesUp(t *testing.T) {
	process := shell(t, `echo busy; sleep 1000`)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := process.WaitReady(ctx, func(context.Context) error { return errors.New("no answer") })
	for _, want := range []string{"deadline exceeded", "no answer", "busy", process.LogFile} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to contain %q", err, want)
		}
	}
}

func TestStartProcessWithoutBinary(t *testing.T) {
	spec := ProcessSpec{Path: "/no/such/binary", LogFile: filepath.Join(t.TempDir(), "log")}
	if _, err := StartProcess(spec); err == nil {
		t.Error("started what is not there")
	}
}

func TestProcessHasItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	process, err := StartProcess(ProcessSpec{
		Path: "/bin/sh", Args: []string{"-c", "pwd"}, Dir: dir, LogFile: filepath.Join(t.TempDir(), "sh.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Wait(t.Context()); err != nil || !strings.Contains(process.LogTail(), dir) {
		t.Errorf("got %q and error %v, want %s", process.LogTail(), err, dir)
	}
}
