// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// family is busy with a child of its own, and tells its process group. (Kubernetes
// makes one $ of two.)
const family = "echo $$$$; sleep 600 & sleep 600; exit 0"

// processGroup is that of a run which executes family.
func processGroup(name string) int {
	GinkgoHelper()
	var group int
	Eventually(func() (err error) {
		group, err = strconv.Atoi(strings.TrimSpace(try("logs", "--selector=batch.jobrun.dev/run="+name).Stdout))
		return err
	}).Should(Succeed())
	Eventually(members).WithArguments(group).Should(HaveLen(3))
	return group
}

// members are the commands of the processes of a group that have not ended. (Those
// that have may stay as zombies until somebody looks after them.)
func members(group int) []string {
	GinkgoHelper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	Expect(err).NotTo(HaveOccurred())
	var commands []string
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// pid (command) state ppid pgrp ...
		before, after, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after)
		if fields[2] == strconv.Itoa(group) && fields[0] != "Z" {
			commands = append(commands, before)
		}
	}
	return commands
}
