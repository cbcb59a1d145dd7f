// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package docs checks the documents: their links, the blocks of code, and that Go snippets compile.
package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// imports has the imports that the snippets leave out, and stand-ins for the variables of the reader's program that
// they use.
const imports = `package snippets

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

var (
	ctx                 context.Context
	runs                *jobrun.Client
	w                   *worker.Worker
	spec                v1alpha1.JobRunSpec
	items               []jobrun.BatchItem
	events              iter.Seq2[jobrun.Event, error]
	name, image, script string
	err                 error
)

type page struct{}

func (page) Store(context.Context, int64) int { return 0 }

func pages(context.Context, int) iter.Seq[page] { return nil }
`

// TestSnippetsCompile compiles each Go snippet of the documents, as declarations or as the statements of a function.
func TestSnippetsCompile(t *testing.T) {
	found := 0
	for _, document := range documentNames(t) {
		snippets := goSnippets(read(t, document))
		if len(snippets) == 0 {
			continue
		}
		found++
		t.Run(document, func(t *testing.T) {
			for _, complaint := range compile(t, checkout.Path(), program(snippets)) {
				t.Error(complaint)
			}
		})
	}
	if found < 4 {
		t.Errorf("found Go snippets in %d documents: has their notation changed?", found)
	}
}

func TestWrongSnippetsDoNotCompile(t *testing.T) {
	complaints := compile(t, checkout.Path(), program([]string{"\tresult, err := runs.Start(ctx, spec)\n"}))
	if len(complaints) != 1 || !strings.Contains(complaints[0], "runs.Start undefined") {
		t.Errorf("complaints: %q", complaints)
	}
}

var fenced = regexp.MustCompile("(?s)```go\n(.*?)```")

// goSnippets returns the Go snippets of a document. It leaves whole files out, which test/suites/usertests executes.
func goSnippets(text string) []string {
	var found []string
	for _, match := range fenced.FindAllStringSubmatch(text, -1) {
		if isFile := strings.HasPrefix(match[1], "package "); !isFile {
			found = append(found, match[1])
		}
	}
	return found
}

var declares = regexp.MustCompile(`(?m)^(func|var|type|const) `)

// program returns the snippets as one Go file.
func program(snippets []string) string {
	var text strings.Builder
	text.WriteString(imports)
	for i, snippet := range snippets {
		if declares.MatchString(snippet) {
			text.WriteString(snippet)
			continue
		}
		fmt.Fprintf(&text, "func snippet%d() error {\n%s\n\tpanic(\"not reached\")\n}\n", i+1, snippet)
	}
	return text.String()
}

// excused matches errors that a snippet may have because it is not a whole program.
var excused = regexp.MustCompile(`declared and not used|imported and not used|imported as \w+ and not used`)

// compile returns the errors of the compiler.
func compile(t *testing.T, root, program string) []string {
	t.Helper()
	dir := t.TempDir()
	file, overlay := filepath.Join(dir, "snippets.go"), filepath.Join(dir, "overlay.json")
	// The package exists only in the overlay, but belongs to the module.
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "test/docs/snippets/snippets.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{file: program, overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-e", "-overlay="+overlay, "./test/docs/snippets")
	command.Dir = root
	output, err := command.CombinedOutput()
	var complaints []string
	for line := range strings.Lines(string(output)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && !excused.MatchString(line) {
			complaints = append(complaints, line)
		}
	}
	if err != nil && len(output) == 0 {
		t.Fatal(err)
	}
	return complaints
}
