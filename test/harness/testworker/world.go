// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// errFenced means that a later holder has already written.
var errFenced = errors.New("fenced")

// world is what workers change outside of the API: a file for each key. Each line is on disk before the next step. The
// first word of a line is its fencing token, which never falls. The token is the keyVersion of the claim, because it rises
// from holder to holder of a key. A generation rises only within one run.
type world struct{ dir string }

// entry is a line of the file.
type entry struct {
	run        string
	generation int64
	holder     string
	what       string
}

func (w world) add(key, token string, e entry) error {
	mine, err := strconv.ParseUint(token, 10, 64)
	if err != nil {
		return fmt.Errorf("fencing token %q: %w", token, err)
	}
	file, err := os.OpenFile(filepath.Join(w.dir, url.PathEscape(key)), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer file.Close() // This unlocks it.
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	last, err := lastToken(file.Name())
	if err != nil {
		return err
	}
	if mine < last {
		return fmt.Errorf("%w: the token %d is lower than %d", errFenced, mine, last)
	}
	if _, err := fmt.Fprintf(file, "%d %s %d %s %s\n", mine, e.run, e.generation, e.holder, e.what); err != nil {
		return err
	}
	return file.Sync()
}

func lastToken(file string) (uint64, error) {
	text, err := os.ReadFile(file)
	if err != nil || len(text) == 0 {
		return 0, err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	token, _, _ := strings.Cut(lines[len(lines)-1], " ")
	return strconv.ParseUint(token, 10, 64)
}
