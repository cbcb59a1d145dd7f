// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

var handedOut sync.Map // addresses that FreeAddress returned before

// FreeAddress returns a loopback address with a port that nobody listens on. The port is below those that the
// kernel gives to outgoing connections, so it stays free while a server is being restarted.
func FreeAddress() (string, error) {
	const first, last, attempts = 15000, 32000, 100
	for range attempts {
		address := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		if _, again := handedOut.LoadOrStore(address, true); again {
			listener.Close()
			continue
		}
		return address, listener.Close()
	}
	return "", fmt.Errorf("found no free port between %d and %d on 127.0.0.1 in %d attempts", first, last, attempts)
}
