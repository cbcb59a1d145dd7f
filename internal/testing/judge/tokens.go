// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"strconv"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// keyToken is the highest fencing token of a RunKey so far, and its latest lease.
type keyToken struct {
	version uint64
	lease   lease
}

// rises checks I4 for the fencing token of a key: each new lease has a higher token than all earlier leases of
// the key. A lease that is restored from a status is not new. Its token may be lower than the highest one, which
// a later claim may have raised by taking the lease over.
func (j *Judge) rises(name string, leased *v1alpha1.LeasedRun) {
	version, err := strconv.ParseUint(leased.FromVersion, 10, 64)
	if err != nil {
		j.fail("I4: %s is leased with key version %q", leased.RunName, leased.FromVersion)
		return
	}
	next, last := keyToken{version, lease{leased.Token, leased.Generation}}, j.tokens[name]
	if next.version <= last.version && next.lease != last.lease {
		j.fail("I4: %s is leased with key version %d, after %d", leased.RunName, next.version, last.version)
	}
	next.version = max(next.version, last.version)
	j.tokens[name] = next
}
