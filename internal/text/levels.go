// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package text

// CutLevels returns JSON with null in the place of each array and object below that many levels.
func CutLevels(json []byte, levels int) []byte {
	kept := make([]byte, 0, len(json))
	level, quoted := 0, false
	for i := 0; i < len(json); i++ {
		c, from := json[i], i
		switch {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if level++; level == levels+1 {
				kept = append(kept, "null"...)
			}
		case c == ']' || c == '}':
			level--
			if level == levels {
				continue
			}
		}
		if level <= levels {
			kept = append(kept, json[from:min(i+1, len(json))]...)
		}
	}
	return kept
}
