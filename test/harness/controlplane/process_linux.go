// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import "syscall"

func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
