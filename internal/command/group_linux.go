// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import "syscall"

// ownGroup has a process begin a group, so that Ctrl-C reaches this process alone,
// and end with this process.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
