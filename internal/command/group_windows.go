// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"os"
	"syscall"
)

// ownGroup keeps Ctrl-C from the process.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// terminate ends a process at once: it cannot be asked.
func terminate(p *os.Process) { kill(p) }

// kill can only fail because the process has ended.
func kill(p *os.Process) { _ = p.Kill() }
