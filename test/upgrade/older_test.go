// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// olderCommit is the older version. It elects a leader, and knows no definitions, no fence on Jobs, no notes and no terms of
// idempotency keys. Its webhooks ask for no right.
const olderCommit = "173fc428b589c0f124e547a84fc30d0fd0229bed"

// older is the older version: its sources and its binaries.
type older struct{ root, manager, worker string }

// buildOlder builds the older version in a temporary directory. What it has in common with this version comes from Go's build cache.
func buildOlder() older {
	GinkgoHelper()
	o := older{root: GinkgoT().TempDir()}
	o.manager, o.worker = filepath.Join(o.root, "bin", "cmd"), filepath.Join(o.root, "bin", "testworker")
	git := func(args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, "git", append([]string{"-C", checkout.Path()}, args...)...)
	}
	Expect(git("cat-file", "-e", olderCommit+"^{commit}").Run()).To(Succeed(), "the test upgrades from commit %s, "+
		"which this clone does not have: clone all of the history, or run `git fetch --unshallow`", olderCommit)

	archive := filepath.Join(o.root, "source.tar")
	succeed(git("archive", "--output="+archive, olderCommit))
	succeed(exec.CommandContext(ctx, "tar", "-x", "-f", archive, "-C", o.root))
	Expect(os.Mkdir(filepath.Join(o.root, "bin"), 0o755)).To(Succeed())
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "bin/",
		"./cmd", "./test/testworker")
	build.Dir = o.root
	succeed(build)
	return o
}

func succeed(command *exec.Cmd) {
	GinkgoHelper()
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s: %s", command, output)
}
