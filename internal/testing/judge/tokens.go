// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"strconv"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// keyToken holds the highest fencing token of a key so far, and the key's latest lease.
type keyToken struct {
	version uint64
	lease   lease
}

// rises checks I4 for the fencing token of a key: each new lease has a higher token than all earlier leases of
// the key. A lease that is restored from a status is not new, and its token may be lower than the highest one.
// This happens if a second claim took the grant over and raised the token, but the JobRun stored the first claim.
func (j *Judge) rises(name string, leased *v1alpha1.LeasedRun) {
	version, err := strconv.ParseUint(leased.FromVersion, 10, 64)
	if err != nil {
		j.fail("I4: %s is leased with key version %q", leased.RunName, leased.FromVersion)
		return
	}
	next, last := keyToken{version, lease{leased.Token, leased.Generation}}, j.tokens[name]
	if next.version <= last.version && next.lease != last.lease {
		j.fail("I4: %s is leased with key version %d, which is not above %d", leased.RunName, next.version, last.version)
	}
	next.version = max(next.version, last.version)
	j.tokens[name] = next
}
