// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import "net"

// split returns the host and the port of an address from FreeAddress.
func split(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		panic("an address of this package has no port: " + address)
	}
	return host, port
}
