// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"runtime"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/jobrun-dev/jobrun/internal/gateway/events"
)

// 1,000 streams over TLS take less than 100 MiB, the connections of their clients included.
func TestAThousandStreams(t *testing.T) {
	const streams, most = 1000, 100 << 20
	token, _ := viewer(t)
	options := events.DefaultOptions
	options.PerCaller = streams
	address := startGateway(t, clock.RealClock{}, options).Addr().String()
	before := inUse()
	readers := make([]*bufio.Reader, streams)
	for i := range readers {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "GET /v1/namespaces/%s/events HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %s\r\n\r\n", namespace, token)
		if err == nil {
			err = conn.SetReadDeadline(time.Now().Add(patience))
		}
		if err != nil {
			t.Fatal(err)
		}
		readers[i] = bufio.NewReaderSize(conn, 512)
		find(t, readers[i], "retry: ")
	}
	taken := inUse() - before
	start := time.Now()
	trigger(t, "for-all")
	for _, reader := range readers {
		find(t, reader, "event: run:trigger")
	}
	t.Logf("%d streams take %.1f MiB; an event reaches all in %v", streams, float64(taken)/(1<<20), time.Since(start).Round(time.Millisecond))
	if taken > most {
		t.Errorf("%d streams take %d bytes, more than %d", streams, taken, int64(most))
	}
}

// inUse returns the bytes of heap and stacks.
func inUse() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapInuse + stats.StackInuse)
}

// find reads until a line that begins with text.
func find(t *testing.T, reader *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", line, err)
		}
		if len(line) >= len(text) && line[:len(text)] == text {
			return
		}
	}
}
