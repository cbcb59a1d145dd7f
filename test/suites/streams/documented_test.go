// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"k8s.io/utils/clock"

	"github.com/jobrun-dev/jobrun/internal/gateway/events"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// scripts are the blocks of JavaScript in a page.
var scripts = regexp.MustCompile("(?ms)^```js\n(.*?)^```$")

// documented writes the JavaScript of docs/gateway.md to a file, and returns its path. Its variables url and token come from the
// environment.
func documented(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(checkout.Path("docs", "gateway.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := scripts.FindAllSubmatch(page, -1)
	if len(found) != 1 {
		t.Fatalf("docs/gateway.md has %d blocks of JavaScript, want 1", len(found))
	}
	modules := checkout.Path("bin", "eventsource", "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "eventsource")); err != nil {
		t.Fatalf("this test needs `make eventsource`: %v", err)
	}
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "documented.mjs")
	text := append([]byte("const { URL: url, TOKEN: token } = process.env;\n"), found[0][1]...)
	if err := os.WriteFile(script, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return script
}

// The example of docs/gateway.md prints the name of a run that completes.
func TestDocumentedEventSource(t *testing.T) {
	script := documented(t)
	token, _ := viewer(t)
	address := startGateway(t, clock.RealClock{}, events.DefaultOptions).Addr().String()
	done := trigger(t, "documented")
	lease(t, done)
	complete(t, done) // A stream of one run begins with the events that its state shows.
	example := run(t, []string{"URL=" + streamURL(address, "run=documented"), "TOKEN=" + token,
		"NODE_TLS_REJECT_UNAUTHORIZED=0", "NODE_NO_WARNINGS=1"}, "node", script)
	example.until("documented")
}
