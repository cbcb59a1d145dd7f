// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxOutput bounds the output, and what is looked at of stdout to find it. The API
// server stores no object that is much larger.
const MaxOutput = 1 << 20

// maxScan bounds the work on what looks like JSON and is not.
const maxScan = 64 * MaxOutput

// output is the last JSON value of stdout: the last one that begins in the first
// column of a line and has nothing but space behind it in its last line. So words
// and numbers within the text of a log are none.
func output(stdout *tail) (json.RawMessage, error) {
	text, cut := stdout.end(), stdout.cut || len(stdout.kept) > stdout.limit
	whole := text
	if cut { // in the middle of a line
		whole = text[lineLength(text):]
	}
	value := lastValue(whole)
	if cut && value == nil && looksCut(text) {
		return nil, fmt.Errorf("the last JSON value of stdout is larger than %d bytes", MaxOutput)
	}
	if value == nil {
		return nil, nil
	}
	return bytes.ToValidUTF8(value, []byte("\uFFFD")), nil
}

// lastValue is the last JSON value of whole lines. It reads forward, for the lines
// within a value may be values, too.
func lastValue(text []byte) (last json.RawMessage) {
	for scanned := 0; len(text) > 0 && scanned < maxScan; {
		value, length := firstValue(text)
		if value != nil {
			last = value
		} else {
			scanned += length
			length = lineLength(text)
		}
		text = text[length:]
	}
	return last
}

// firstValue is the JSON value that the text begins with, and its length to the end
// of its line. If there is none, it is how much had to be read to know.
func firstValue(text []byte) (value json.RawMessage, length int) {
	if strings.IndexByte(`{["-0123456789tfn`, text[0]) < 0 {
		return nil, 0
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&value); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, int(syntax.Offset)
		}
		return nil, len(text)
	}
	end := int(decoder.InputOffset())
	rest := lineLength(text[end:])
	if len(bytes.TrimSpace(text[end:end+rest])) > 0 {
		return nil, end
	}
	return value, end + rest
}

// lineLength is that of the first line, with its end.
func lineLength(text []byte) int {
	if end := bytes.IndexByte(text, '\n'); end >= 0 {
		return end + 1
	}
	return len(text)
}

// looksCut reports whether a text is the end of a JSON value whose beginning is
// lost: its last line closes what no line of it opens, or there is but one line.
func looksCut(text []byte) bool {
	text = bytes.TrimSpace(text)
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	if len(last) == len(text) {
		return bytes.HasSuffix(last, []byte("}")) || bytes.HasSuffix(last, []byte("]")) || bytes.HasSuffix(last, []byte(`"`))
	}
	return bytes.HasPrefix(last, []byte("}")) || bytes.HasPrefix(last, []byte("]"))
}
