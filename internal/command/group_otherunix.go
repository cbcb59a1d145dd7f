// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package command

import "syscall"

// ownGroup has a process begin a group, so that Ctrl-C reaches this process alone.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
