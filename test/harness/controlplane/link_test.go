// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bufio"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestLinkHoldsBackWhatIsSentWhileItIsCut(t *testing.T) {
	l := startLink(t)
	before := dialLink(t, l)
	say(t, before, "hello")
	l.Cut()
	during := dialLink(t, l)
	for _, connection := range []net.Conn{before, during} {
		if _, err := connection.Write([]byte("are you there?\n")); err != nil {
			t.Fatal(err)
		}
		if err := connection.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := connection.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %d bytes and %v while the network is cut", n, err)
		}
	}
	l.Heal()
	for _, connection := range []net.Conn{before, during} {
		hear(t, connection, "are you there?")
		say(t, connection, "good")
	}
}

func TestLinkCloses(t *testing.T) {
	l := startLink(t)
	open := dialLink(t, l)
	say(t, open, "hello")
	l.Cut()
	during := dialLink(t, l)
	if err := l.Close(); err != nil { // Close waits for both directions.
		t.Fatal(err)
	}
	for _, connection := range []net.Conn{open, during} {
		if err := connection.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := connection.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection is open: %v", err)
		}
	}
}

// startLink returns a Link to a server that repeats each line.
func startLink(t *testing.T) *Link {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			connection, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				for lines := bufio.NewScanner(connection); lines.Scan(); {
					_, _ = connection.Write(append(lines.Bytes(), '\n'))
				}
			}()
		}
	}()
	l, err := NewLink(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func dialLink(t *testing.T, l *Link) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func say(t *testing.T, connection net.Conn, line string) {
	t.Helper()
	if _, err := connection.Write([]byte(line + "\n")); err != nil {
		t.Fatal(err)
	}
	hear(t, connection, line)
}

func hear(t *testing.T, connection net.Conn, line string) {
	t.Helper()
	if err := connection.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil || got != line+"\n" {
		t.Fatalf("got %q and %v, want %q", got, err, line)
	}
}
