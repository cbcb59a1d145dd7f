// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/jobrun-dev/jobrun/internal/cli"
	"github.com/jobrun-dev/jobrun/internal/gateway"
)

var commandLine = regexp.MustCompile(`(?m)^  ([a-z][a-z-]+) +([A-Z].*)$`)

// commands returns a line for each command that the help of the plugin lists.
func commands() ([]string, error) {
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errOut}
	if code := cli.Main(context.Background(), []string{"--help"}, cli.Options{Streams: streams}); code != 0 {
		return nil, fmt.Errorf("kubectl jobrun --help exits with %d: %s", code, &errOut)
	}
	var lines []string
	for _, match := range commandLine.FindAllStringSubmatch(out.String(), -1) {
		lines = append(lines, fmt.Sprintf("`kubectl jobrun %s`: %s", match[1], match[2]))
	}
	return lines, nil
}

// routes returns a line for each route in the gateway's OpenAPI document.
func routes() ([]string, error) {
	text, err := gateway.OpenAPI()
	if err != nil {
		return nil, err
	}
	var document struct {
		Paths map[string]map[string]struct{ Summary string }
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	var lines []string
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		operations := document.Paths[path]
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			lines = append(lines, fmt.Sprintf("`%s %s`: %s", strings.ToUpper(method), path, operations[method].Summary))
		}
	}
	return lines, nil
}
