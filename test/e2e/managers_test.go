// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// leader waits for the manager that leads by its own metrics. A stopped manager does not answer.
func leader() *operator.Manager {
	GinkgoHelper()
	var found *operator.Manager
	Eventually(func() error {
		found = nil
		for _, m := range liveManagers() {
			families, err := scrape(m)
			if err != nil {
				GinkgoWriter.Println(m.Name, err)
				continue
			}
			if families.Sum("leader_election_master_status") == 1 {
				found = m
			}
		}
		if found == nil {
			return errors.New("no manager leads")
		}
		return nil
	}).Should(Succeed())
	return found
}

func liveManagers() []*operator.Manager {
	return slices.DeleteFunc(slices.Clone(jobrun.Managers()), func(m *operator.Manager) bool { return m.Exited() })
}

// startManagers replaces the managers that have ended, as a Deployment would.
func startManagers() {
	GinkgoHelper()
	for range managers - len(liveManagers()) {
		_, err := jobrun.StartManager(ctx)
		Expect(err).NotTo(HaveOccurred())
	}
}

// scrape reads a manager's metrics as Prometheus does.
func scrape(m *operator.Manager) (operator.Metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return jobrun.Metrics(ctx, m)
}
