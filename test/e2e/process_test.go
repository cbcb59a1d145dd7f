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

// family is a script with a child process. It prints its process group. Kubernetes replaces $$ by $, hence $$$$.
const family = "echo $$$$; sleep 600 & sleep 600; exit 0"

// processGroup returns the process group of a run that executes family.
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

// members returns the commands of the processes in a group, without zombies: those have ended, and wait for their parent.
func members(group int) []string {
	GinkgoHelper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	Expect(err).NotTo(HaveOccurred())
	var commands []string
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // the process has ended
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
