// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import "net"

// split is the host and the port of an address that FreeAddress gave.
func split(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		panic("an address of this package has no port: " + address)
	}
	return host, port
}
