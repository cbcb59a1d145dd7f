// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// soon is how long a test waits for an immediate effect.
const soon = 10 * time.Second

func startLauncher(t *testing.T) *launcher {
	t.Helper()
	l, err := newLauncher(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func shell(name, script string) corev1.Container {
	return corev1.Container{
		Name:                   name,
		Command:                []string{"sh", "-c", script},
		TerminationMessagePath: corev1.TerminationMessagePathDefault,
	}
}

func podOf(policy corev1.RestartPolicy, containers ...corev1.Container) *corev1.Pod {
	pod := &corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: policy, Containers: containers}}
	pod.Namespace, pod.Name, pod.UID = "default", "pod", "1234"
	return pod
}

// startPod runs a Pod. Its containers restart after a short delay.
func startPod(t *testing.T, l *launcher, pod *corev1.Pod) *podRun {
	t.Helper()
	r := newPodRun(pod, t.TempDir(), l, func(*corev1.Pod) {})
	r.backOff = func(restart int32) time.Duration { return time.Duration(restart) * time.Millisecond }
	go r.run()
	t.Cleanup(func() { r.stop(0); <-r.done })
	return r
}

// ended waits for the end of a Pod, and returns its last status.
func ended(t *testing.T, r *podRun) corev1.PodStatus {
	t.Helper()
	select {
	case <-r.done:
		return r.snapshot().Status
	case <-time.After(soon):
		t.Fatalf("the Pod did not end: %v", r.snapshot().Status)
		return corev1.PodStatus{}
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// pidIn waits for a process to write its id to a file, and returns it.
func pidIn(t *testing.T, path string) int {
	t.Helper()
	var pid int
	eventually(t, "a process id in "+path, func() bool {
		text, _ := os.ReadFile(path)
		if !strings.HasSuffix(string(text), "\n") {
			return false
		}
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	return pid
}

func expectGone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, "the end of process "+strconv.Itoa(pid), func() bool {
		state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return os.IsNotExist(err) || strings.Contains(string(state), ") Z ")
	})
}

func TestContainerEnds(t *testing.T) {
	l := startLauncher(t)
	fallback := shell("m", "echo it broke >&2; exit 3")
	fallback.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	wellDespite := shell("m", "echo all well")
	wellDespite.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	missing := shell("m", "")
	missing.Command = []string{"no-such-program"}
	ownPath := shell("m", "true")
	ownPath.Env = []corev1.EnvVar{{Name: "PATH", Value: "/nowhere"}}
	elsewhere := shell("m", "pwd > $JOBRUN_TERMINATION_LOG")
	elsewhere.WorkingDir = "/"
	nowhere := shell("m", "true")
	nowhere.WorkingDir = "/no/such/directory"

	cases := map[string]struct {
		container corev1.Container
		code      int32
		reason    string
		message   string
		phase     corev1.PodPhase
	}{
		"success":              {shell("m", "true"), 0, "Completed", "", corev1.PodSucceeded},
		"failure":              {shell("m", "exit 42"), 42, "Error", "", corev1.PodFailed},
		"signal":               {shell("m", "kill -s SEGV $$$$"), 139, "Error", "", corev1.PodFailed},
		"message":              {shell("m", `echo hello > "$JOBRUN_TERMINATION_LOG"; exit 1`), 1, "Error", "hello\n", corev1.PodFailed},
		"message from the log": {fallback, 3, "Error", "it broke\n", corev1.PodFailed},
		"no message if well":   {wellDespite, 0, "Completed", "", corev1.PodSucceeded},
		"working directory":    {elsewhere, 0, "Completed", "/\n", corev1.PodSucceeded},
		"directory of its own": {shell("m", `[ -z "$(ls -A)" ] && [ "$PWD" = "$HOME" ]`), 0, "Completed", "", corev1.PodSucceeded},
		"missing program":      {missing, 128, "StartError", `"no-such-program": not found`, corev1.PodFailed},
		"its own PATH":         {ownPath, 128, "StartError", `"sh": not found on this machine in PATH /nowhere`, corev1.PodFailed},
		"missing directory":    {nowhere, 128, "StartError", "workingDir /no/such/directory: no such directory", corev1.PodFailed},
		"no command":           {corev1.Container{Name: "m"}, 128, "StartError", "has no command", corev1.PodFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			status := ended(t, startPod(t, l, podOf(never, c.container)))
			end := status.ContainerStatuses[0].State.Terminated
			if end == nil || end.ExitCode != c.code || end.Reason != c.reason || status.Phase != c.phase {
				t.Fatalf("got %s, %v, want %s, %d, %s", status.Phase, end, c.phase, c.code, c.reason)
			}
			if c.reason == "StartError" && !strings.Contains(end.Message, c.message) || c.reason != "StartError" && end.Message != c.message {
				t.Errorf("got message %q, want %q", end.Message, c.message)
			}
			if end.StartedAt.IsZero() || end.FinishedAt.IsZero() {
				t.Errorf("times are missing: %v", end)
			}
		})
	}
}

// If localnode runs as root, a process finds its file at /dev/termination-log. Else it finds the file only by the variable.
func TestTerminationLogMount(t *testing.T) {
	const either = `echo hello > "${JOBRUN_TERMINATION_LOG:-/dev/termination-log}"`
	mounted, unmounted := startLauncher(t), startLauncher(t)
	unmounted.mountError = errors.New("not allowed")
	scripts := map[*launcher][]string{mounted: {either}, unmounted: {either}}
	if os.Geteuid() == 0 {
		scripts[mounted] = append(scripts[mounted],
			"echo hello > /dev/termination-log",
			`[ "$(wc -c < /dev/termination-log)" = 0 ] && echo hello > /dev/null && echo hello > /dev/termination-log`,
			"echo hello | tee /dev/stderr > /dev/termination-log")
	}
	for l, scripts := range scripts {
		for _, script := range scripts {
			status := ended(t, startPod(t, l, podOf(never, shell("m", script))))
			if end := status.ContainerStatuses[0].State.Terminated; end.Message != "hello\n" {
				t.Errorf("%s: got %v", script, end)
			}
		}
	}
}

func TestOutput(t *testing.T) {
	r := startPod(t, startLauncher(t), podOf(never, shell("m", "echo one; echo two >&2; echo three > /dev/stdout")))
	ended(t, r)
	reader, err := r.logOf("m", false).open(t.Context(), 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if text, err := io.ReadAll(reader); err != nil || string(text) != "one\ntwo\nthree\n" {
		t.Errorf("got %q, %v", text, err)
	}
	if r.logOf("m", true) != nil || r.logOf("other", false) != nil {
		t.Error("there is only one log")
	}
}

func TestRestartOnFailure(t *testing.T) {
	tries := filepath.Join(t.TempDir(), "tries")
	script := `echo >> ` + tries + `; n=$(wc -l < ` + tries + `); echo try $n; [ $n = 3 ] || exit $n`
	r := startPod(t, startLauncher(t), podOf(onFailure, shell("m", script)))
	status := ended(t, r)
	c := status.ContainerStatuses[0]
	if status.Phase != corev1.PodSucceeded || c.RestartCount != 2 || c.State.Terminated.ExitCode != 0 || c.LastTerminationState.Terminated.ExitCode != 2 {
		t.Errorf("got %s, %v", status.Phase, c)
	}
	if last, before := r.logOf("m", false).lastPart(), r.logOf("m", true).lastPart(); last != "try 3\n" || before != "try 2\n" {
		t.Errorf("got logs %q and %q", last, before)
	}
}

func TestInitContainers(t *testing.T) {
	order := filepath.Join(t.TempDir(), "order")
	l := startLauncher(t)
	pod := podOf(never, shell("m", "echo main >> "+order))
	pod.Spec.InitContainers = []corev1.Container{shell("a", "sleep 0.1; echo a >> "+order), shell("b", "echo b >> "+order)}
	status := ended(t, startPod(t, l, pod))
	if text, _ := os.ReadFile(order); status.Phase != corev1.PodSucceeded || string(text) != "a\nb\nmain\n" {
		t.Errorf("got %s, %q", status.Phase, text)
	}

	pod.Spec.InitContainers[1] = shell("b", "exit 5")
	status = ended(t, startPod(t, l, pod))
	if status.Phase != corev1.PodFailed || status.ContainerStatuses[0].State.Waiting == nil {
		t.Errorf("nothing follows an init container that failed, got %s, %v", status.Phase, status.ContainerStatuses[0].State)
	}
}

func TestDeadline(t *testing.T) {
	pod := podOf(never, shell("m", "trap 'exit 0' TERM; sleep 1000 & wait"))
	pod.Spec.ActiveDeadlineSeconds = new(int64(1))
	status := ended(t, startPod(t, startLauncher(t), pod))
	if status.Phase != corev1.PodFailed || status.Reason != "DeadlineExceeded" {
		t.Errorf("got %s %s", status.Phase, status.Reason)
	}
}

func TestStopEndsTheGroup(t *testing.T) {
	dir := t.TempDir()
	cases := map[string]struct {
		script string
		grace  time.Duration
		code   int32
	}{
		"at SIGTERM":       {`sleep 1000 & echo $! > "$F"; wait`, time.Minute, 143},
		"handles SIGTERM":  {`trap 'exit 7' TERM; sleep 1000 & echo $! > "$F"; wait`, time.Minute, 7},
		"ignores SIGTERM":  {`trap '' TERM; sleep 1000 & echo $! > "$F"; while true; do wait; done`, 50 * time.Millisecond, 137},
		"no time is given": {`trap '' TERM; sleep 1000 & echo $! > "$F"; while true; do wait; done`, 0, 137},
	}
	l := startLauncher(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			container := shell("m", c.script)
			container.Env = []corev1.EnvVar{{Name: "F", Value: file}}
			r := startPod(t, l, podOf(always, container))
			child := pidIn(t, file)
			r.stop(c.grace)
			status := ended(t, r)
			if end := status.ContainerStatuses[0].State.Terminated; end == nil || end.ExitCode != c.code || status.Phase != corev1.PodFailed {
				t.Errorf("got %s, %v, want %d", status.Phase, end, c.code)
			}
			expectGone(t, child)
		})
	}
}

func TestShorterGracePeriodCounts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	r := startPod(t, startLauncher(t), podOf(never, shell("m", "trap '' TERM; echo $$$$ > "+file+"; while true; do sleep 0.1; done")))
	pid := pidIn(t, file)
	r.stop(time.Hour)
	r.stop(0)
	ended(t, r)
	expectGone(t, pid)
}

func TestStopBeforeStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	r := newPodRun(podOf(always, shell("m", "touch "+file)), t.TempDir(), startLauncher(t), func(*corev1.Pod) {})
	r.stop(time.Hour)
	r.run()
	status := r.snapshot().Status
	if _, err := os.Stat(file); !os.IsNotExist(err) || status.Phase != corev1.PodFailed || status.ContainerStatuses[0].State.Waiting == nil {
		t.Errorf("a Pod that was deleted does not start, got %v, %v", err, status)
	}
}

func TestGroupEndsWithItsLeader(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ended(t, startPod(t, startLauncher(t), podOf(never, shell("m", "sleep 1000 & echo $! > "+file))))
	expectGone(t, pidIn(t, file))
}

// The Pod ends although a daemon keeps the pipe of the log open.
func TestDaemonDoesNotHoldThePod(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ended(t, startPod(t, startLauncher(t), podOf(never, shell("m", "setsid sleep 1000 & echo $! > "+file+"; sleep 0.3"))))
	if err := unix.Kill(pidIn(t, file), unix.SIGKILL); err != nil {
		t.Error("the daemon was to be left:", err)
	}
}

// The guard's input ends when localnode ends, even by SIGKILL.
func TestGuardEndsWhatIsLeft(t *testing.T) {
	dir := t.TempDir()
	l, err := newLauncher(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := func(i int) string { return filepath.Join(dir, strconv.Itoa(i)) }
	var left []*podRun
	for i := range 3 {
		left = append(left, startPod(t, l, podOf(never, shell("m", "sleep 1000 & echo $! > "+file(i)+"; wait"))))
	}
	var children []int
	for i := range left {
		children = append(children, pidIn(t, file(i)))
	}
	over := startPod(t, l, podOf(never, shell("m", "true")))
	ended(t, over)
	if err := l.groups.Close(); err != nil {
		t.Fatal(err)
	}
	for i, r := range left {
		if end := ended(t, r).ContainerStatuses[0].State.Terminated; end.ExitCode != 137 {
			t.Errorf("got %v", end)
		}
		expectGone(t, children[i])
	}
	if err := l.guard.Wait(); err != nil {
		t.Error("the guard:", err)
	}
}

// When the guard is killed too, at least the leader of each group ends.
func TestLeadersEndWithTheLauncher(t *testing.T) {
	l, err := newLauncher(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pid")
	r := startPod(t, l, podOf(never, shell("m", "echo $$$$ > "+file+"; sleep 1000")))
	pidIn(t, file)
	if err := l.guard.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	close(l.requests)
	if end := ended(t, r).ContainerStatuses[0].State.Terminated; end.ExitCode != 137 {
		t.Errorf("got %v", end)
	}
}

func TestManyAtOnce(t *testing.T) {
	l := startLauncher(t)
	var pods []*podRun
	for i := range 200 {
		script := `echo ` + strconv.Itoa(i) + ` > "$JOBRUN_TERMINATION_LOG"`
		if l.mountError == nil {
			script = `echo ` + strconv.Itoa(i) + ` > /dev/termination-log`
		}
		pod := podOf(never, shell("m", script))
		pod.UID = types.UID(strconv.Itoa(i))
		pods = append(pods, startPod(t, l, pod))
	}
	for i, r := range pods {
		if end := ended(t, r).ContainerStatuses[0].State.Terminated; end.Message != strconv.Itoa(i)+"\n" {
			t.Errorf("%d: got %v", i, end)
		}
	}
}
