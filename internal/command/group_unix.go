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

// kill kills the group of a process. The process itself may have ended.
func kill(p *os.Process) { signal(p, syscall.SIGKILL) }

// signal ignores the error: it means that the group has no members left. The system does not
// reuse the number while the group has members, and reuses free numbers last.
func signal(p *os.Process, s syscall.Signal) { _ = syscall.Kill(-p.Pid, s) }
