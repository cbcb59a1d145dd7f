// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package journal shows which runs executed, and whether two runs of a key executed at the same time, whatever the API says. The
// processes of runs write the journal themselves.
package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Journal has the notes that the processes of runs write. A run's processes hold an exclusive lock on the file of their
// key. The kernel releases the lock when the last process of the run has ended, even if it was killed.
//
// A process that finds the lock taken notes an overlap, but a twin if the holder executes the same generation of the same run. The
// Job controller may make two Pods for one Job if the API server is killed, as the documentation of Jobs says: "the same program
// may sometimes be started twice".
type Journal struct{ dir string }

// In returns the journal in an empty directory.
func In(dir string) Journal { return Journal{dir} }

// Locked returns a script that executes work while it holds the lock of the key.
func (j Journal) Locked(work string) string {
	return `
cd ` + j.dir + `
note() { echo "$1 $JOBRUN_NAME $(date +%s%N) of $JOBRUN_CONCURRENCY_KEY, generation $JOBRUN_GENERATION" >> journal; }
note start
exec 9>> "$JOBRUN_CONCURRENCY_KEY.lock"
execution="$JOBRUN_NAME $JOBRUN_GENERATION"
flock --nonblock 9 || {
  sleep 0.1 # The holder may just have taken the lock.
  test "$(cat "$JOBRUN_CONCURRENCY_KEY.holder")" = "$execution" && note twin || note overlap
  exit 1
}
echo "$execution" > "$JOBRUN_CONCURRENCY_KEY.holder"
` + work + `
note end
`
}

// Entries returns the lines that begin with a word: start, end, overlap or twin.
func (j Journal) Entries(word string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(j.dir, "journal"))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, word+" ") {
			found = append(found, line)
		}
	}
	return found, nil
}

// LastStarts returns when each run started last, by its name.
func (j Journal) LastStarts() (map[string]time.Time, error) {
	lines, err := j.Entries("start")
	if err != nil {
		return nil, err
	}
	starts := map[string]time.Time{}
	for _, line := range lines {
		fields := strings.Fields(line)
		nanoseconds, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the journal's line %q: %w", line, err)
		}
		starts[fields[1]] = time.Unix(0, nanoseconds)
	}
	return starts, nil
}
