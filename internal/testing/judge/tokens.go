// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"strconv"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// keyToken is the highest fencing token of a key so far, and the lease seen last.
type keyToken struct {
	version uint64
	lease   lease
}

// rises holds I4 for the fencing token of a key: who leases the key later has a
// higher one than all before, whichever run it is. A lease that is restored may have
// the one of its status again, which is behind if claims were taken over.
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
