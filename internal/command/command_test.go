// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package command

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = time.Minute

func shell(t *testing.T, script string) *Command {
	t.Helper()
	c, err := Find("sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	c.Grace = patience
	return c
}

func TestRun(t *testing.T) {
	for name, tc := range map[string]struct {
		script, stdin     string
		output, err, seen string
	}{
		"input and environment": {
			script: `read -r line; echo "{\"in\": $line, \"run\": \"$JOBRUN_NAME\"}"`, stdin: "{\"a\":1}\n",
			output: `{"in": {"a":1}, "run": "july"}`, seen: "{\"in\": {\"a\":1}, \"run\": \"july\"}\n",
		},
		"no output":                {script: "echo hello; echo warning >&2", seen: "hello\n"},
		"stdin is not read":        {script: "exec <&-; echo 1", stdin: strings.Repeat("x", 1<<20), output: "1", seen: "1\n"},
		"fails":                    {script: "echo first >&2; echo '  no such org ' >&2; echo >&2; echo 1; exit 3", err: "exit code 3: no such org", seen: "1\n"},
		"fails and says nothing":   {script: "exit 4", err: "exit code 4"},
		"ends by a signal":         {script: "echo oh >&2; kill -9 $$", err: "signal: killed: oh"},
		"fails with a long stderr": {script: `i=0; while [ $i -lt 5000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1`, err: "exit code 1: line 4999"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout bytes.Buffer
			got, err := shell(t, tc.script).Run(t.Context(), Execution{
				Env: []string{"JOBRUN_NAME=july"}, Stdin: tc.stdin, Stdout: &stdout, Stderr: &bytes.Buffer{},
			})
			message := ""
			if err != nil {
				message = err.Error()
			}
			if string(got) != tc.output || message != tc.err || stdout.String() != tc.seen {
				t.Errorf("got output %s, error %q, stdout %q", got, message, stdout.String())
			}
		})
	}
}

func TestHugeStdoutIsNotKept(t *testing.T) {
	var seen counter
	got, err := shell(t, `head -c 20000000 /dev/zero | tr '\0' x; echo; echo '{"rows": 2}'`).Run(t.Context(), Execution{Stdout: &seen})
	if err != nil || string(got) != `{"rows": 2}` {
		t.Errorf("got output %s, error %v", got, err)
	}
	if seen.n != 20000000+1+len(`{"rows": 2}`)+1 {
		t.Errorf("%d bytes were passed on", seen.n)
	}
	if kept := cap(seen.tail(t).kept); kept > 8*MaxOutput {
		t.Errorf("%d bytes were kept", kept)
	}
}

// counter counts the bytes that it gets.
type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}

// tail returns a tail that got as many bytes.
func (c *counter) tail(t *testing.T) *tail {
	t.Helper()
	kept := &tail{limit: MaxOutput}
	chunk := bytes.Repeat([]byte("x"), 32<<10)
	for written := 0; written < c.n; written += len(chunk) {
		if _, err := kept.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	return kept
}

var errStopped = errors.New("stopped")

// stoppable runs a script until it has written its processes' numbers, and stops it.
func stoppable(t *testing.T, script string, grace time.Duration) (pids []int, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pids")
	c := shell(t, script)
	c.Grace = grace
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	result := make(chan error, 1)
	go func() {
		_, err := c.Run(ctx, Execution{Env: []string{"PIDS=" + file}})
		result <- err
	}()
	eventually(t, "the script tells its processes", func() bool {
		text, _ := os.ReadFile(file)
		return bytes.HasSuffix(text, []byte(".\n"))
	})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(strings.TrimSuffix(string(text), ".\n")) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	stop(errStopped)
	return pids, <-result
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never happens: " + what)
		}
	}
}

// gone waits until a process has ended, or is a zombie that its parent left.
func gone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, "process "+strconv.Itoa(pid)+" ends", func() bool {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return true
		}
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err == nil && bytes.Contains(stat, []byte(") Z "))
	})
}

func TestStop(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		grace  time.Duration
		// pids is how many processes there are.
		pids int
	}{
		"ends at SIGTERM":           {script: `sleep 600 & echo $$ $!. >$PIDS; wait`, grace: patience, pids: 2},
		"must be killed":            {script: `trap '' TERM; echo $$. >$PIDS; while :; do sleep 600; done`, pids: 1},
		"exits well when asked to":  {script: `trap 'exit 0' TERM; sleep 600 & echo $$ $!. >$PIDS; wait`, grace: patience, pids: 2},
		"leaves one that does not":  {script: `sh -c 'trap "" TERM; while :; do sleep 600; done' & echo $$ $!. >$PIDS; wait`, grace: patience, pids: 2},
		"a group that must be, too": {script: `trap '' TERM; sh -c 'while :; do sleep 600; done' & echo $$ $!. >$PIDS; while :; do wait; done`, pids: 2},
	} {
		t.Run(name, func(t *testing.T) {
			pids, err := stoppable(t, strings.ReplaceAll(tc.script, ". >", " . >"), tc.grace)
			if !errors.Is(err, errStopped) {
				t.Errorf("error %v", err)
			}
			if len(pids) != tc.pids {
				t.Errorf("processes %v", pids)
			}
			for _, pid := range pids {
				gone(t, pid)
			}
		})
	}
}

func TestStopAsksFirst(t *testing.T) {
	note := filepath.Join(t.TempDir(), "note")
	t.Setenv("NOTE", note)
	if _, err := stoppable(t, `trap 'echo tidied >$NOTE; exit 0' TERM; sleep 600 & echo $$ . >$PIDS; wait`, patience); !errors.Is(err, errStopped) {
		t.Errorf("error %v", err)
	}
	if text, _ := os.ReadFile(note); string(text) != "tidied\n" {
		t.Errorf("the note says %q", text)
	}
}

func TestWhatIsLeftBehindEnds(t *testing.T) {
	for name, script := range map[string]string{
		"with stdout open":   `sleep 600 & echo $!`,
		"with stdout closed": `sleep 600 >/dev/null 2>&1 </dev/null & echo $!`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := shell(t, script).Run(t.Context(), Execution{})
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(string(got))
			if err != nil {
				t.Fatal(err)
			}
			gone(t, pid)
		})
	}
}

func TestCannotStart(t *testing.T) {
	if _, err := Find("there-is-no-such-command"); err == nil {
		t.Error("it was found")
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/there/is/no/such/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := Find(script)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		env      string
		hopeless bool
	}{"no interpreter": {"A=1", true}, "an environment that cannot be": {"A=\x00", false}} {
		_, err := c.Run(t.Context(), Execution{Env: []string{tc.env}})
		var cannot *StartError
		if !errors.As(err, &cannot) || cannot.Hopeless() != tc.hopeless {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
