// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// journal has the notes that the processes of runs write. A run's processes hold an exclusive lock on the file of their
// key. The kernel releases the lock when the last process of the run has ended, even if it was killed.
//
// A process that finds the lock taken notes an overlap, but a twin if the holder executes the same generation of the same run. The
// Job controller may make two Pods for one Job if the API server is killed, as the documentation of Jobs says: "the same program
// may sometimes be started twice".
type journal struct{ dir string }

func newJournal() journal { return journal{GinkgoT().TempDir()} }

// script returns the script of the runs.
func (j journal) script() string { return j.locked("sleep 0.5") }

// locked returns a script that executes work while it holds the lock of the key.
func (j journal) locked(work string) string {
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

// entries returns the lines that begin with a word.
func (j journal) entries(word string) []string {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join(j.dir, "journal"))
	if !os.IsNotExist(err) {
		Expect(err).NotTo(HaveOccurred())
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, word+" ") {
			found = append(found, line)
		}
	}
	return found
}

// lastStarts returns when each run started last.
func (j journal) lastStarts() map[string]time.Time {
	GinkgoHelper()
	starts := map[string]time.Time{}
	for _, line := range j.entries("start") {
		fields := strings.Fields(line)
		nanoseconds, err := strconv.ParseInt(fields[2], 10, 64)
		Expect(err).NotTo(HaveOccurred())
		starts[fields[1]] = time.Unix(0, nanoseconds)
	}
	return starts
}
