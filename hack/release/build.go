// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// defaults are the settings of the go command that change a binary. The builder's own must not: an empty one is Go's default, and
// GOENV=off leaves those of `go env -w` out.
var defaults = []string{
	"GOENV=off", "GOWORK=off", "GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=", "CGO_ENABLED=0",
	"GOAMD64=", "GOARM64=", "GOARM=", "GO386=", "GOPPC64=", "GORISCV64=",
}

// compile returns the binary of a command of the repository for a platform, such as linux/amd64. The flags are those of the
// Dockerfile. The commit is in no binary, so that the same sources give the same binary wherever they are.
func compile(ctx context.Context, s settings, command, platform string) ([]byte, error) {
	system, architecture, ok := strings.Cut(platform, "/")
	if !ok || strings.Contains(architecture, "/") {
		return nil, fmt.Errorf("platform %q: it must be OS/ARCHITECTURE, such as linux/amd64", platform)
	}
	dir, err := os.MkdirTemp("", "jobrun-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "binary")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version="+s.version, "-o", binary, command)
	build.Dir = s.root
	build.Env = append(append(os.Environ(), defaults...), "GOOS="+system, "GOARCH="+architecture)
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s for %s: %w\n%s", command, platform, err, output)
	}
	return os.ReadFile(binary)
}

// commit is the commit that is checked out.
type commit struct {
	revision string // with "-dirty" if the working tree differs from it
	time     time.Time
}

// readCommit returns the commit of the repository. SOURCE_DATE_EPOCH replaces its time.
func readCommit(ctx context.Context, root string) (commit, error) {
	described, err := git(ctx, root, "log", "-1", "--format=%H %ct")
	if err != nil {
		return commit{}, err
	}
	changed, err := git(ctx, root, "status", "--porcelain")
	if err != nil {
		return commit{}, err
	}
	revision, seconds, _ := strings.Cut(described, " ")
	if changed != "" {
		revision += "-dirty"
	}
	created, err := timeOf(cmp.Or(os.Getenv("SOURCE_DATE_EPOCH"), seconds))
	return commit{revision: revision, time: created}, err
}

func timeOf(seconds string) (time.Time, error) {
	epoch, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || epoch < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH must be a number of seconds since 1970, not %q", seconds)
	}
	return time.Unix(epoch, 0).UTC(), nil
}

func git(ctx context.Context, root string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...)
	output, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("git %s: %w\n%s", args[0], err, exit.Stderr)
	}
	return strings.TrimSpace(string(output)), err
}
