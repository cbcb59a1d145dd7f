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

// MaxOutput is the largest size of the output, in bytes. Run searches only the last MaxOutput bytes of stdout for it. The
// API server refuses objects that are much larger.
const MaxOutput = 1 << 20

// maxScan limits lastValue: it stops after it has parsed so many bytes that are not a JSON value.
const maxScan = 64 * MaxOutput

// output returns the last JSON value of stdout. A value begins in the first column of a line. Only white space may follow
// it in its last line. So words and numbers within a line of a log do not count.
func output(stdout *tail) (json.RawMessage, error) {
	text, cut := stdout.end(), stdout.cut || len(stdout.kept) > stdout.limit
	whole := text
	if cut { // The first line may be incomplete.
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

// lastValue returns the last JSON value of a text of whole lines. It reads forward, because a single line within a value
// may look like a value, too.
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

// firstValue returns the JSON value at the beginning of the text, and its length to the end of its last line. Without a
// value, length is the number of bytes that were read.
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

// lineLength returns the length of the first line, its line break included.
func lineLength(text []byte) int {
	if end := bytes.IndexByte(text, '\n'); end >= 0 {
		return end + 1
	}
	return len(text)
}

// looksCut reports whether a text looks like the end of a JSON value whose beginning was cut off. Either its last line
// begins with a closing bracket, or the text is one line and ends like a value.
func looksCut(text []byte) bool {
	text = bytes.TrimSpace(text)
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	if len(last) == len(text) {
		return bytes.HasSuffix(last, []byte("}")) || bytes.HasSuffix(last, []byte("]")) || bytes.HasSuffix(last, []byte(`"`))
	}
	return bytes.HasPrefix(last, []byte("}")) || bytes.HasPrefix(last, []byte("]"))
}
