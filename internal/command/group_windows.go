// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"os"
	"syscall"
)

// ownGroup starts a process that Ctrl-C does not reach.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// terminate kills the process, because Windows has no SIGTERM.
func terminate(p *os.Process) { kill(p) }

// kill ignores the error: it means that the process has ended.
func kill(p *os.Process) { _ = p.Kill() }
