// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"net"
	"os/exec"
	"sync"
	"testing"
)

// A child process keeps a copy of its parent's listeners between fork and exec. If FreeAddress listened on a port, the
// port would be taken for that time.
func TestFreeAddressIsFreeWhileProcessesStart(t *testing.T) {
	stop := make(chan struct{})
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.Command("true").Run()
				}
			}
		})
	}
	defer starting.Wait()
	defer close(stop)
	for range 200 {
		address, err := FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
	}
}

func TestFreeAddressHasNoServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if isFree(listener.Addr().String()) {
		t.Errorf("%s is free while a server listens there", listener.Addr())
	}
}
