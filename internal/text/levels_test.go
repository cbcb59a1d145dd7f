// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package text

import "testing"

func TestCutLevels(t *testing.T) {
	for text, want := range map[string]string{
		``:                             ``,
		`5`:                            `5`,
		`[1,{"a":[2]}]`:                `[1,{"a":null}]`,
		`[[[1],[2,[3]]],{"a":{}},4]`:   `[[null,null],{"a":null},4]`,
		`{"[[[":["\"[[[","\\",[[1]]]}`: `{"[[[":["\"[[[","\\",null]}`,
		`["\`:                          `["\`,
	} {
		if got := string(CutLevels([]byte(text), 2)); got != want {
			t.Errorf("CutLevels(%s, 2) = %s, want %s", text, got, want)
		}
	}
}
