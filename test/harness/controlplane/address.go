// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
)

var handedOut sync.Map // addresses that FreeAddress returned before

// FreeAddress returns a loopback address with a port on which no server listens. The port is below those that
// the kernel gives to outgoing connections, so it stays free while a server is being restarted.
func FreeAddress() (string, error) {
	const first, last, attempts = 15000, 32000, 100
	for range attempts {
		address := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))
		if !isFree(address) {
			continue
		}
		if _, again := handedOut.LoadOrStore(address, true); !again {
			return address, nil
		}
	}
	return "", fmt.Errorf("found no free port between %d and %d on 127.0.0.1 in %d attempts", first, last, attempts)
}

// isFree reports whether no server listens on a loopback address. It connects, because listening would take the
// address: a child process that is being forked inherits the listener and keeps it open until its exec.
func isFree(address string) bool {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	connection.Close()
	return false
}
