// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/jobrun-dev/jobrun/test/harness/journal"
)

func newJournal() journal.Journal { return journal.In(GinkgoT().TempDir()) }
