// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package changelog

import (
	"strings"
	"testing"
)

const introduction = "# Changelog\n\nWhat users notice. See [versions](docs/operations.md#supported-versions).\n\n"

func TestNotes(t *testing.T) {
	const entries = "### Added\n\n- A flag.\n"
	for name, changelog := range map[string]string{
		"tag":                 introduction + "## v0.2.0\n\n" + entries,
		"number and date":     introduction + "## 0.2.0 - 2026-12-01\n\n" + entries,
		"as Keep a Changelog": introduction + "## [0.2.0] - 2026-12-01\n\n" + entries,
		"between others":      introduction + "## Unreleased\n\n## v0.2.0\n" + entries + "\n## v0.2.0-rc.1\n\n- Old.\n\n## v0.1.0\n\n- Older.\n",
		"behind another":      introduction + "## v0.2.0-rc.1\n\n- Old.\n\n## v0.2.0\n\n" + entries,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Notes(changelog, "v0.2.0"); err != nil || got != entries {
				t.Errorf("got %q, %v, want %q", got, err, entries)
			}
		})
	}
}

func TestNotesRefuses(t *testing.T) {
	for name, test := range map[string]struct{ sections, want string }{
		"nothing":          {"", `CHANGELOG.md has no section "## v0.2.0": rename "Unreleased" to it`},
		"another version":  {"## v0.1.0\n\n- A flag.\n", `no section "## v0.2.0"`},
		"a longer version": {"## v0.2.0-rc.1\n\n- A flag.\n", `no section "## v0.2.0"`},
		"Unreleased alone": {"## Unreleased\n\n- A flag.\n", `has no section but "Unreleased": rename it to "## v0.2.0"`},
		"Unreleased left":  {"## Unreleased\n\n- A flag.\n\n## v0.2.0\n\n- Another.\n", `still has entries under "Unreleased": move them to "## v0.2.0"`},
		"an empty section": {"## v0.2.0 - 2026-12-01\n\n## v0.1.0\n\n- A flag.\n", `says nothing under "## v0.2.0 - 2026-12-01"`},
	} {
		t.Run(name, func(t *testing.T) {
			if notes, err := Notes(introduction+test.sections, "v0.2.0"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, %v, want an error with %q", notes, err, test.want)
			}
		})
	}
}

func TestAbsolute(t *testing.T) {
	const base = "https://example.com/blob/v0.2.0/"
	for text, want := range map[string]string{
		"see [a](docs/a.md#b), [c](d.md)": "see [a](https://example.com/blob/v0.2.0/docs/a.md#b), [c](https://example.com/blob/v0.2.0/d.md)",
		"[above](#v010)":                  "[above](https://example.com/blob/v0.2.0/CHANGELOG.md#v010)",
		"[web](https://example.org/x.md)": "[web](https://example.org/x.md)",
		"call `a[i](b c)` with (docs)":    "call `a[i](b c)` with (docs)",
	} {
		if got := Absolute(text, base); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
