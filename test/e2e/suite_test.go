// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/format"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// patience is long, for busy machines.
	patience = 2 * time.Minute
	polling  = 200 * time.Millisecond
)

// local labels specs that only run against the suite's own cluster: see the package comment.
const local = "local"

var ctx context.Context

func TestE2E(t *testing.T) {
	RegisterFailHandler(Fail)
	ctrl.SetLogger(GinkgoLogr)
	format.MaxLength = 8000
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(polling)
	EnforceDefaultTimeoutsWhenUsingContexts()
	suite, reporter := GinkgoConfiguration()
	if usesKubeconfig() {
		suite.LabelFilter = "!" + local + and(suite.LabelFilter)
	}
	RunSpecs(t, "JobRun, end to end", suite, reporter)
}

func usesKubeconfig() bool { return os.Getenv("E2E_USE_KUBECONFIG") == "1" }

func and(filter string) string {
	if filter == "" {
		return ""
	}
	return " && (" + filter + ")"
}

var _ = BeforeSuite(func() {
	var cancel context.CancelFunc
	ctx, cancel = context.WithCancel(context.Background())
	DeferCleanup(func() { cancel() })
	if usesKubeconfig() {
		useKubeconfig()
	} else {
		startCluster()
	}
	findKubectl()
})
