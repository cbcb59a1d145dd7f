// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const parentOf = "CONTROLPLANE_TEST_PARENT_LOG"

// TestMain also runs the parent of TestProcessDiesWithParent.
func TestMain(m *testing.M) {
	log := os.Getenv(parentOf)
	if log == "" {
		os.Exit(m.Run())
	}
	process, err := StartProcess(ProcessSpec{Path: "/bin/sleep", Args: []string{"1000"}, LogFile: log})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(process.PID())
	<-process.Done()
}

func TestProcessDiesWithParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentOf+"="+t.TempDir()+"/log")
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent says %q", line)
	}
	if err := syscall.Kill(child, 0); err != nil {
		t.Fatalf("the child is not there: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	eventually(t, "the child is gone", func(context.Context) (bool, error) {
		return errors.Is(syscall.Kill(child, 0), syscall.ESRCH) || isZombie(child), nil
	})
}

// isZombie reports whether the process has ended and its new parent has not reaped it yet.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}
