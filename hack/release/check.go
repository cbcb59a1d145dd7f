// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/jobrun-dev/jobrun/hack/release/changelog"
)

// runCheck names everything that is in the way of a release.
func runCheck(ctx context.Context, s settings, _, _ io.Writer) error {
	if err := checkVersion(s.version); err != nil {
		return err
	}
	_, notes := notesOf(s)
	return errors.Join(checkTree(ctx, s), notes, checkEmpty(s.dist))
}

// checkVersion accepts what Go, krew and a chart all take: v1.2.3 or v1.2.3-rc.1.
func checkVersion(version string) error {
	if !semver.IsValid(version) || semver.Canonical(version) != version {
		return fmt.Errorf("VERSION=%s: a release needs a semantic version such as v1.2.3 or v1.2.3-rc.1, without build metadata", version)
	}
	return nil
}

// checkTree wants all that is released to be in the commit, and the version's tag, if there is one, to be at this commit.
func checkTree(ctx context.Context, s settings) error {
	changed, err := git(ctx, s.root, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" {
		return fmt.Errorf("the working tree has changes that are in no commit:\n%s", changed)
	}
	tagged, err := git(ctx, s.root, "for-each-ref", "--format=%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)", "refs/tags/"+s.version)
	if err != nil {
		return err
	}
	head, err := git(ctx, s.root, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	if tagged != "" && tagged != head {
		return fmt.Errorf("the tag %s is at another commit, %s: check it out, or choose another VERSION", s.version, tagged)
	}
	return nil
}

// checkEmpty refuses a directory with files, because they would become part of the release.
func checkEmpty(dist string) error {
	entries, err := os.ReadDir(dist)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty, it has %s: remove the directory first", dist, entries[0].Name())
	}
	return err
}

// runNotes writes the notes of the release.
func runNotes(_ context.Context, s settings, _, progress io.Writer) error {
	notes, err := notesOf(s)
	if err != nil {
		return err
	}
	return s.write("release-notes.md", []byte(notes), progress)
}

func notesOf(s settings) (string, error) {
	text, err := s.read("CHANGELOG.md")
	if err != nil {
		return "", err
	}
	notes, err := changelog.Notes(string(text), s.version)
	return changelog.Absolute(notes, "https://github.com/jobrun-dev/jobrun/blob/"+strings.TrimSpace(s.version)+"/"), err
}
