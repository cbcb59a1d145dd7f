// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package command

import (
	"os"
	"syscall"
)

// terminate asks the group of a process to end.
func terminate(p *os.Process) { signal(p, syscall.SIGTERM) }

// kill ends what there is of the group of a process, which may itself have ended.
func kill(p *os.Process) { signal(p, syscall.SIGKILL) }

// signal can only fail because nothing is left. The number is not used again while
// the group has members, and numbers that became free are used last.
func signal(p *os.Process, s syscall.Signal) { _ = syscall.Kill(-p.Pid, s) }
