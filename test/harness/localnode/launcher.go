// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	corev1 "k8s.io/api/core/v1"

	"golang.org/x/sys/unix"
)

// launcher starts processes from one operating system thread, which lives until the launcher is closed. The kernel ends a
// process with the thread that started it (Pdeathsig), and a thread can have its own mount namespace.
type launcher struct {
	requests chan func()
	guard    *exec.Cmd
	groups   io.WriteCloser

	// mountError is the reason why /dev/termination-log cannot be mounted, or nil.
	mountError error
}

// guardScript remembers the process groups that localnode writes to it. When its input ends, because localnode has ended
// for whatever reason, it kills the groups that are left. Pdeathsig reaches only the leader of each group.
const guardScript = `
groups=" "
while read -r op group; do
  case $op in
  +) groups="$groups$group " ;;
  -) groups="${groups%% $group *} ${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
`

// newLauncher returns a launcher. dir is an empty directory that only the launcher uses.
func newLauncher(dir string) (*launcher, error) {
	guard := exec.Command("/bin/sh", "-c", guardScript)
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C does not reach it.
	groups, err := guard.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := guard.Start(); err != nil {
		return nil, err
	}
	l := &launcher{requests: make(chan func()), guard: guard, groups: groups}
	go l.run()
	l.do(func() { l.mountError = makeDevPrivate(dir) })
	return l, nil
}

// close kills all processes that are left.
func (l *launcher) close() error {
	close(l.requests)
	if err := l.groups.Close(); err != nil {
		return err
	}
	return l.guard.Wait()
}

// run runs the functions of do. It does not unlock its thread, so the thread ends with it and no other goroutine inherits
// its mount namespace.
func (l *launcher) run() {
	runtime.LockOSThread()
	for request := range l.requests {
		request()
	}
}

// do runs f on the launcher's thread.
func (l *launcher) do(f func()) {
	done := make(chan struct{})
	l.requests <- func() {
		defer close(done)
		f()
	}
	<-done
}

// launch starts cmd. If terminationLog is set, cmd finds that file at /dev/termination-log.
func (l *launcher) launch(cmd *exec.Cmd, terminationLog string) (err error) {
	l.do(func() {
		if terminationLog != "" && l.mountError == nil {
			if err = mountTerminationLog(terminationLog); err != nil {
				return
			}
		}
		if err = cmd.Start(); err == nil {
			l.tell("+", cmd.Process.Pid)
		}
	})
	return err
}

// forget tells the guard that a process group has ended.
func (l *launcher) forget(group int) {
	l.tell("-", group)
}

// tell writes to the guard. It ignores errors, because the guard may have been killed.
func (l *launcher) tell(op string, group int) {
	_, _ = io.WriteString(l.groups, op+" "+strconv.Itoa(group)+"\n")
}

// makeDevPrivate gives the calling thread its own mount namespace. Its /dev has a file termination-log, and links to
// everything in the real /dev, which is mounted in dir. Nothing changes for the rest of the machine.
func makeDevPrivate(dir string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	mounts := []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"", "/", "", unix.MS_SLAVE | unix.MS_REC, ""},
		{"/dev", dir, "", unix.MS_BIND | unix.MS_REC, ""},
		{"localnode", "/dev", "tmpfs", 0, "mode=755"},
	}
	for _, m := range mounts {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return &os.PathError{Op: "mount", Path: m.target, Err: err}
		}
	}
	devices, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, device := range devices {
		link := filepath.Join("/dev", device.Name())
		if link == corev1.TerminationMessagePathDefault {
			continue // localnode itself runs in a container.
		}
		if err := os.Symlink(filepath.Join(dir, device.Name()), link); err != nil {
			return err
		}
	}
	return os.WriteFile(corev1.TerminationMessagePathDefault, nil, 0o644)
}

// mountTerminationLog moves the calling thread to a new mount namespace in which /dev/termination-log is this file. The
// next process shares the namespace.
func mountTerminationLog(file string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	// The mount of the previous process, if any.
	_ = unix.Unmount(corev1.TerminationMessagePathDefault, unix.MNT_DETACH)
	if err := unix.Mount(file, corev1.TerminationMessagePathDefault, "", unix.MS_BIND, ""); err != nil {
		return &os.PathError{Op: "mount", Path: corev1.TerminationMessagePathDefault, Err: err}
	}
	return nil
}
