// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package mutants

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Edit replaces the text From by To in a file. The path is relative to the repository's root.
type Edit struct{ File, From, To string }

// Overlay writes the edited files to the directory dir, and returns the path of the file that describes them to
// `go build -overlay`. Root is the repository's root. Overlay fails if a From does not occur exactly once.
func Overlay(root, dir string, edits ...Edit) (string, error) {
	texts := map[string]string{}
	for _, e := range edits {
		original := filepath.Join(root, e.File)
		if _, read := texts[original]; !read {
			source, err := os.ReadFile(original)
			if err != nil {
				return "", err
			}
			texts[original] = string(source)
		}
		text, err := e.apply(texts[original])
		if err != nil {
			return "", err
		}
		texts[original] = text
	}
	return writeOverlay(dir, texts)
}

// apply returns a text with the edit.
func (e Edit) apply(text string) (string, error) {
	if n := strings.Count(text, e.From); n != 1 {
		return "", fmt.Errorf("%s has this text %d times, want once: update the mutant: %q", e.File, n, e.From)
	}
	return strings.Replace(text, e.From, e.To, 1), nil
}

// writeOverlay writes the texts, by the paths of the files that they stand for, to the directory dir. It returns the path of
// the file that describes them to `go build -overlay`.
func writeOverlay(dir string, texts map[string]string) (string, error) {
	replace := map[string]string{}
	for original, text := range texts {
		broken := filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(original)))
		if err := os.WriteFile(broken, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[original] = broken
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}
