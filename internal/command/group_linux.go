// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import "syscall"

// ownGroup starts a process in a group of its own, so that Ctrl-C reaches this process
// alone. The process is killed when this process dies.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
